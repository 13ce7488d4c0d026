//! HTTP/1.1 by hand, as a browser speaks it to a service without TLS.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::within;

/// A connection and what was read ahead.
pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// The head of a request.
pub(super) fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{method} {path} HTTP/1.1\r\nhost: goldbook.example\r\n{}\r\n", lines.collect::<String>())
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Writes, and says whether the service took it.
    pub(super) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within("writing", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Says that nothing more will come.
    pub(super) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends a request with a length.
    pub(super) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &length)]].concat();
        self.write(head(method, path, &headers).as_bytes()).await;
        self.write(body).await;
        self.answer().await.unwrap()
    }

    /// Reads more. Nothing comes after the end.
    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        let count = within("an answer", self.stream.read(&mut piece)).await.unwrap_or(0);
        self.read.extend_from_slice(&piece[..count]);
        (count > 0).then_some(())
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.more().await?;
        }
        Some(self.read.drain(..count).collect())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") {
                let line = self.take(end + 2).await?;
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    /// The next answer; none if the connection ends before it.
    pub(super) async fn answer(&mut self) -> Option<Response> {
        let status = self.line().await?;
        let status = status.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap());
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            body = self.take(length.to_str().unwrap().parse().unwrap()).await?;
        } else if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            loop {
                let length = usize::from_str_radix(&self.line().await?, 16).unwrap();
                body.extend(self.take(length).await?);
                assert_eq!(self.line().await?, "");
                if length == 0 {
                    break;
                }
            }
        }
        Some(Response { status, headers, body })
    }

    /// Waits until the service closes the connection, and has sent nothing more.
    pub(super) async fn closed(&mut self) {
        assert_eq!(self.more().await, None, "{:?}", String::from_utf8_lossy(&self.read));
    }
}
