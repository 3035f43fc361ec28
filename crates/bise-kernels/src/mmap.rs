//! Read-only maps of files, and the one owner of a file's bytes that the rest of the project passes
//! around.

use rayon::prelude::*;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;
use std::sync::Arc;

/// A file mapped into memory, read-only.
pub struct Mapped {
    map: memmap2::Mmap,
    file: File,
}

impl Mapped {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // SAFETY: the map is read-only and private to this value. What memmap2 asks of the caller
        // is that the file does not change meanwhile, which no program can enforce: a change by
        // another process shows as other bytes (every reader checks what it reads) or, when the
        // file is cut, as SIGBUS. The documentation of the program asks users not to change a file
        // that is in use.
        let map = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Self { map, file })
    }

    /// Reads part of the file to `out`, without the map.
    #[cfg(unix)]
    fn read_at(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, start as u64)
    }

    /// Copies part of the map to `out`.
    #[cfg(not(unix))]
    fn read_at(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        let _ = &self.file;
        out.copy_from_slice(&self.map[start..start + out.len()]);
        Ok(())
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Memory for weights, or for keys and values, in huge pages where the system has them: kernels walk
/// through all of it for every token.
pub struct Buffer(memmap2::MmapMut);

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// When the system has no room.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let map = memmap2::MmapMut::map_anon(len.max(1))?;
        // Only advice: where there are no huge pages, small ones do.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self(map))
    }

    /// Keeps the memory from being paged out.
    ///
    /// # Errors
    /// When the system refuses: there is a limit for each user.
    pub fn lock(&self) -> io::Result<()> {
        #[cfg(unix)]
        return self.0.lock();
        #[cfg(not(unix))]
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Cuts the memory into parts of `len` bytes, as many as are whole. It is given back when all of
    /// them are gone.
    ///
    /// # Panics
    /// When `len` is 0.
    pub fn cut(mut self, len: usize) -> impl Iterator<Item = BufferPart> {
        let (start, parts) = (self.0.as_mut_ptr(), self.0.len() / len);
        let memory = Arc::new(self);
        (0..parts).map(move |i| BufferPart {
            start: start.wrapping_add(i * len),
            len,
            _memory: memory.clone(),
        })
    }
}

/// A part of a [`Buffer`] that has been cut: exclusive access to it.
pub struct BufferPart {
    start: *mut u8,
    len: usize,
    /// Keeps the memory mapped, and is not looked at.
    _memory: Arc<Buffer>,
}

// SAFETY: a part is the only way to its bytes, as a box would be: parts do not overlap, and the
// buffer that was cut is not looked at any more.
unsafe impl Send for BufferPart {}
// SAFETY: as above; `&BufferPart` gives only `&[u8]`.
unsafe impl Sync for BufferPart {}

impl Deref for BufferPart {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes lie within the buffer, which is mapped as long as this part has it, and
        // are written only through `&mut` of this part.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for BufferPart {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; no other part has these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The bytes of a file: mapped, compiled in, or in memory. Clones share them.
#[derive(Clone)]
pub struct FileBytes(Owner);

#[derive(Clone)]
enum Owner {
    Mapped(Arc<Mapped>),
    Static(&'static [u8]),
    Memory(Arc<Vec<u8>>),
    Buffer(Arc<Buffer>),
}

impl FileBytes {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// As [`Mapped::open`].
    pub fn map(path: &Path) -> io::Result<Self> {
        Mapped::open(path).map(|map| Self(Owner::Mapped(Arc::new(map))))
    }

    /// Says that the bytes of `range` will not be needed for long: those of a mapped file may leave
    /// memory, and come back from the file when they are looked at again.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Owner::Mapped(map) = &self.0 {
            const PAGE: usize = 4096;
            let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
            if start < end {
                // SAFETY: the map is of a file, shared and read-only: pages that go are read from
                // the file again.
                let _ = unsafe {
                    map.map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        start,
                        end - start,
                    )
                };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// The bytes of `range` in memory of their own: those of a mapped file are read, on all
    /// threads, and not mapped.
    ///
    /// # Errors
    /// When there is no memory, or the file cannot be read.
    pub fn read(&self, range: Range<usize>) -> io::Result<Self> {
        const PIECE: usize = 1 << 23;
        let mut buffer = Buffer::zeroed(range.len())?;
        let out = &mut buffer[..range.len()];
        out.par_chunks_mut(PIECE).enumerate().try_for_each(|(i, out)| {
            let start = range.start + i * PIECE;
            match &self.0 {
                Owner::Mapped(map) => map.read_at(start, out),
                _ => {
                    out.copy_from_slice(&self[start..start + out.len()]);
                    Ok(())
                }
            }
        })?;
        Ok(Self(Owner::Buffer(Arc::new(buffer))))
    }

    /// Keeps the bytes from being paged out, when they are in memory of their own.
    ///
    /// # Errors
    /// As [`Buffer::lock`].
    pub fn lock(&self) -> io::Result<()> {
        match &self.0 {
            Owner::Buffer(buffer) => buffer.lock(),
            _ => Ok(()),
        }
    }

    /// A file that is part of the program.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self(Owner::Static(bytes))
    }

    /// A file made in memory.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(Owner::Memory(Arc::new(bytes)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Owner::Mapped(map) => map,
            Owner::Static(bytes) => bytes,
            Owner::Memory(bytes) => bytes,
            Owner::Buffer(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_owners_show_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"bytes").unwrap();
        let owners = [
            FileBytes::map(&path).unwrap(),
            FileBytes::from_static(b"bytes"),
            FileBytes::from_vec(b"bytes".to_vec()),
        ];
        for owner in owners {
            assert_eq!(&*owner.clone(), b"bytes");
            let read = owner.read(1..4).unwrap();
            assert_eq!(&read[..3], b"yte");
            assert_eq!(&read.read(1..3).unwrap()[..2], b"te");
        }
    }

    #[test]
    fn empty_files_and_directories() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty");
        std::fs::write(&path, b"").unwrap();
        assert!(FileBytes::map(&path).unwrap().is_empty());
        assert!(FileBytes::map(directory.path()).is_err());
        assert!(FileBytes::map(&directory.path().join("absent")).is_err());
    }
}
