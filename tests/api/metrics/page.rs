//! Asking the admin listener, and reading its page of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The kind of its content.
    pub(super) fn kind(&self) -> &str {
        let header = self.head.lines().find_map(|line| line.strip_prefix("content-type: "));
        header.unwrap()
    }
}

/// Asks for a path.
pub(crate) async fn get(address: SocketAddr, path: &str, accept: &str) -> Answer {
    let accept = if accept.is_empty() { String::new() } else { format!("Accept: {accept}\r\n") };
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{accept}Connection: close\r\n\r\n")).await
}

/// Sends a request, and reads the answer to its end.
pub(super) async fn request(address: SocketAddr, text: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Reads the page of metrics.
pub(super) async fn scrape(admin: SocketAddr) -> Page {
    Page::read(&get(admin, "/metrics", "").await.body)
}

/// The labels of a series.
type Labels = BTreeMap<String, String>;

/// Metrics in the text format of Prometheus, whose values have no quotes in these tests.
#[derive(Debug)]
pub(super) struct Page(Vec<(String, Labels, f64)>, BTreeSet<String>);

impl Page {
    pub(super) fn read(text: &str) -> Self {
        let mut samples = Vec::new();
        let mut families = BTreeSet::new();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                families.insert(family.split(' ').next().unwrap().to_owned());
            }
            if line.starts_with('#') {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap().split_terminator("\",");
            let labels = labels.map(|label| label.split_once("=\"").unwrap());
            let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned()));
            samples.push((name.to_owned(), labels.collect(), value.parse().unwrap()));
        }
        Self(samples, families)
    }

    /// The values of a name.
    pub(super) fn series(&self, name: &str) -> Vec<f64> {
        self.0.iter().filter(|(own, _, _)| own == name).map(|(_, _, value)| *value).collect()
    }

    /// The sum of the series with these labels, if there is one.
    pub(super) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has_all = |own: &Labels| labels.iter().all(|(key, value)| own.get(*key).is_some_and(|own| own == value));
        let found: Vec<f64> = self
            .0
            .iter()
            .filter(|(own_name, own, _)| own_name == name && has_all(own))
            .map(|(_, _, value)| *value)
            .collect();
        (!found.is_empty()).then(|| found.into_iter().sum())
    }

    /// The same, where there must be one.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    /// Every family with the labels that its series have.
    pub(super) fn families(&self) -> impl Iterator<Item = (&str, BTreeSet<String>)> {
        self.1.iter().map(|family| {
            let ends = ["", "_bucket", "_sum", "_count"];
            let is_of = |name: &str| ends.iter().any(|end| name.strip_suffix(end) == Some(family));
            let of = self.0.iter().filter(|(name, _, _)| is_of(name));
            (family.as_str(), of.flat_map(|(_, labels, _)| labels.keys().cloned()).collect())
        })
    }
}
