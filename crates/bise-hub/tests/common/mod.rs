//! A hub on loopback, with faults.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Connections break after so many bytes of a file.
    pub drop: Option<usize>,
    /// This byte of files is another one.
    pub flip: Option<usize>,
    /// Files are answered with so many bytes less than are asked for.
    pub short: usize,
    /// Files are answered with this status, so many times.
    pub status: Option<(u16, usize)>,
    /// Everything is answered with this status.
    pub all: Option<u16>,
    /// Ranges are passed over.
    pub no_range: bool,
    /// Only who has this token may ask.
    pub token: Option<&'static str>,
    /// Bytes of a body are sent slowly.
    pub slow: bool,
}

/// A hub of one repository, `org/model`, whose only branch is `main`.
pub struct Stub {
    pub endpoint: String,
    pub faults: Arc<Mutex<Faults>>,
    /// Requests: path, and range.
    pub log: Arc<Mutex<Vec<(String, String)>>>,
}

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

type Files = Arc<BTreeMap<String, Vec<u8>>>;

impl Stub {
    pub fn start(files: &[(&str, &[u8])]) -> Self {
        let files: BTreeMap<_, _> = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
            .collect();
        let files: Files = Arc::new(files);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // The address is another host's: tokens must not follow to it.
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (endpoint, storage_address) = (address(&listener), address(&storage));
        let (faults, log) = (
            Arc::new(Mutex::new(Faults::default())),
            Arc::new(Mutex::new(Vec::new())),
        );
        for (listener, is_storage) in [(listener, false), (storage, true)] {
            let (files, faults, log) = (files.clone(), faults.clone(), log.clone());
            let storage = storage_address.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (files, faults, log) = (files.clone(), faults.clone(), log.clone());
                    let storage = storage.clone();
                    thread::spawn(move || {
                        let _ = serve(stream, is_storage, &storage, &files, &faults, &log);
                    });
                }
            });
        }
        Self {
            endpoint,
            faults,
            log,
        }
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
        self.log.lock().unwrap().clear();
    }

    /// Ranges of files that were asked for.
    pub fn ranges(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|(path, _)| path.starts_with("/blobs"))
            .map(|(_, range)| range.clone())
            .collect()
    }
}

impl Stub {
    /// Bytes of files that were asked for.
    pub fn asked_for(&self) -> u64 {
        let bytes = |range: &String| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(to.parse::<u64>().ok()? + 1 - from.parse::<u64>().ok()?)
        };
        self.ranges().iter().filter_map(bytes).sum()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    Sha256::digest(bytes)
        .iter()
        .for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text
}

fn serve(
    stream: TcpStream,
    is_storage: bool,
    storage: &str,
    files: &Files,
    faults: &Mutex<Faults>,
    log: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut range, mut token) = (String::new(), String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end();
            let (name, value) = header.split_once(": ").unwrap_or((header, ""));
            match name.to_lowercase().as_str() {
                "range" => value.clone_into(&mut range),
                "authorization" => value.clone_into(&mut token),
                "" => break,
                _ => {}
            }
        }
        log.lock().unwrap().push((path.clone(), range.clone()));
        let now = faults.lock().unwrap().clone();
        let fail = |out: &mut TcpStream, status: u16| {
            write!(
                out,
                "HTTP/1.1 {status} Fault\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            )
        };
        if let Some(status) = now.all {
            fail(&mut out, status)?;
        } else if is_storage {
            if !token.is_empty() {
                fail(&mut out, 400)?;
                continue;
            }
            let digits = path.trim_start_matches("/blobs/");
            let Some(bytes) = files.values().find(|bytes| sha256(bytes) == digits) else {
                fail(&mut out, 404)?;
                continue;
            };
            let failing = {
                let mut faults = faults.lock().unwrap();
                match &mut faults.status {
                    Some((status, left)) if *left > 0 => {
                        *left -= 1;
                        Some(*status)
                    }
                    _ => None,
                }
            };
            match failing {
                Some(status) => fail(&mut out, status)?,
                None => {
                    if !body(&mut out, bytes, &range, &now)? {
                        return Ok(());
                    }
                }
            }
        } else if now
            .token
            .is_some_and(|wanted| token != format!("Bearer {wanted}"))
        {
            fail(&mut out, 401)?;
        } else if path.starts_with("/api/models/org/model/revision/main") {
            let list: Vec<String> = files
                .iter()
                .map(|(name, bytes)| {
                    format!(
                        r#"{{"rfilename": "{name}", "size": {}, "lfs": {{"sha256": "{}"}}}}"#,
                        bytes.len(),
                        sha256(bytes)
                    )
                })
                .collect();
            let json = format!(r#"{{"sha": "{COMMIT}", "siblings": [{}]}}"#, list.join(", "));
            write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}",
                json.len()
            )?;
        } else if let Some(name) = path.strip_prefix(&format!("/org/model/resolve/{COMMIT}/")) {
            let place = files
                .get(name)
                .map(|bytes| format!("{storage}/blobs/{}", sha256(bytes)));
            match place {
                Some(place) => write!(
                    out,
                    "HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
                )?,
                None => fail(&mut out, 404)?,
            }
        } else {
            fail(&mut out, 404)?;
        }
    }
}

/// Sends a file, or a range of it; false when the connection broke.
fn body(out: &mut TcpStream, bytes: &[u8], range: &str, faults: &Faults) -> std::io::Result<bool> {
    let asked = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'));
    let asked = asked.filter(|_| !faults.no_range);
    let (from, to) = match asked {
        Some((from, to)) => (from.parse().unwrap(), to.parse::<usize>().unwrap() + 1),
        None => (0, bytes.len()),
    };
    let sent = (to - from).saturating_sub(faults.short);
    match asked {
        Some(_) => write!(
            out,
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {sent}\r\n\r\n",
            to - 1,
            bytes.len()
        )?,
        None => write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {sent}\r\n\r\n")?,
    }
    let mut part = bytes[from..from + sent].to_vec();
    if let Some(at) = faults.flip.filter(|at| (from..from + sent).contains(at)) {
        part[at - from] ^= 0xff;
    }
    let stop = faults.drop.map_or(part.len(), |drop| drop.min(part.len()));
    for piece in part[..stop].chunks(1 << 16) {
        if faults.slow {
            thread::sleep(std::time::Duration::from_millis(2));
        }
        out.write_all(piece)?;
    }
    out.flush()?;
    Ok(stop == part.len())
}
