//! The chat page is whole, and says what it may do.

mod common;

use common::Setup;
use std::collections::BTreeSet;
use std::path::Path;
use ureq::http::Response;

/// The folder of the page.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page")
}

/// The names of the page's files, those of its folders included.
fn files() -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (from, prefix) in [(folder(), ""), (folder().join("vendor"), "vendor/")] {
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_file() && name != "mod.rs" {
                files.insert(format!("{prefix}{name}"));
            }
        }
    }
    files
}

/// Where a file is served.
fn path(file: &str) -> String {
    match file {
        "index.html" => "/".to_owned(),
        _ => format!("/page/{file}"),
    }
}

fn get(url: &str, known: Option<&str>) -> Response<ureq::Body> {
    let mut request = ureq::get(url);
    if let Some(tags) = known {
        request = request.header("If-None-Match", tags);
    }
    request.call().unwrap()
}

fn header<'r>(response: &'r Response<ureq::Body>, name: &str) -> &'r str {
    response.headers()[name].to_str().unwrap()
}

#[test]
fn every_file_is_served_with_its_type_and_policy() {
    let server = Setup::default().run();
    for file in files() {
        let mut response = get(&format!("{}{}", server.url, path(&file)), None);
        let kind = match file.rsplit_once('.').unwrap().1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "LICENSE" => "text/plain; charset=utf-8",
            other => panic!("{other}"),
        };
        assert_eq!(header(&response, "content-type"), kind, "{file}");
        let policy = header(&response, "content-security-policy");
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        let text = response.body_mut().read_to_string().unwrap();
        assert!(
            text == std::fs::read_to_string(folder().join(&file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn what_the_browser_has_is_not_sent_again() {
    let server = Setup::default().run();
    let url = format!("{}/page/app.js", server.url);
    let tag = header(&get(&url, None), "etag").to_owned();
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"old\", {tag}"),
        "*".to_owned(),
    ] {
        let mut response = get(&url, Some(&known));
        assert_eq!(response.status(), 304, "{known}");
        assert_eq!(header(&response, "etag"), tag);
        assert_eq!(response.body_mut().read_to_string().unwrap(), "");
    }
    assert_eq!(get(&url, Some("\"old\"")).status(), 200);
    let head = ureq::head(&url).call().unwrap();
    assert_eq!(header(&head, "etag"), tag);
}

/// What follows each `before` in `text`, up to the quote.
fn quoted<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(['"', '\'']).next().unwrap())
}

#[test]
fn all_that_is_named_is_there_and_nothing_is_from_elsewhere() {
    let files = files();
    let html = std::fs::read_to_string(folder().join("index.html")).unwrap();
    let links = quoted(&html, "href=\"").chain(quoted(&html, "src=\""));
    for link in links.filter(|link| !link.starts_with('#')) {
        assert!(files.contains(link.strip_prefix("page/").unwrap()), "{link}");
    }
    assert!(
        !html.contains("<style") && !html.contains("style="),
        "the policy forbids styles there"
    );
    for tag in quoted(&html, "<script ") {
        assert!(
            tag.starts_with("src="),
            "the policy forbids scripts in the page: {tag}"
        );
    }
    for file in files
        .iter()
        .filter(|file| file.ends_with(".js") && !file.contains('/'))
    {
        let text = std::fs::read_to_string(folder().join(file)).unwrap();
        for import in quoted(&text, " from '") {
            assert!(
                files.contains(import.strip_prefix("./").unwrap()),
                "{file}: {import}"
            );
        }
    }
}
