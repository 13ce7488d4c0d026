//! One connection, encrypted or not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use x509_parser::extensions::GeneralName;

use super::bounds::Bounds;
use crate::telemetry::metrics::Counted;

/// A connection of a caller. It holds its place among all until it ends.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: PeerNames,
    silence: Silence,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How long a caller has sent nothing.
#[derive(Debug)]
struct Silence {
    heard: Instant,
    longest: Duration,
    /// What it is after the first bytes.
    then: Duration,
    /// Made when somebody first waits. It may ring early, and is set again then.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(bounds: Bounds) -> Self {
        Self { heard: Instant::now(), longest: bounds.first_bytes, then: bounds.silence, alarm: None }
    }

    /// Notes that the caller sent something.
    fn end(&mut self) {
        self.heard = Instant::now();
        self.longest = self.then;
    }

    /// Ready once it has lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(self.heard + self.longest)));
        while alarm.as_mut().poll(cx).is_ready() {
            let end = self.heard + self.longest;
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// The names in the certificate that the caller of a connection showed: its SAN URIs and DNS names. None without a
/// certificate.
#[derive(Clone, Debug, Default)]
pub struct PeerNames {
    names: Arc<[PeerName]>,
    not_after: i64,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// A URI, such as `spiffe://shop/checkout`.
    Uri(String),
    /// A DNS name.
    Dns(String),
}

impl PeerNames {
    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &PeerName> {
        self.names.iter()
    }

    /// The last instant at which the certificate counts, in seconds of the Unix epoch.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The names in a certificate that was verified, in its DER form.
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
    pub(crate) fn of_certificate(der: &[u8]) -> Self {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return Self::default() };
        let Ok(Some(alternative)) = certificate.subject_alternative_name() else { return Self::default() };
        let read = |name: &GeneralName<'_>| match name {
            GeneralName::URI(uri) => Some(PeerName::Uri((*uri).to_owned())),
            GeneralName::DNSName(name) => Some(PeerName::Dns(name.to_ascii_lowercase())),
            _ => None,
        };
        let names = alternative.value.general_names.iter().filter_map(read).collect();
        Self { names, not_after: certificate.validity().not_after.timestamp() }
    }
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, place: OwnedSemaphorePermit, bounds: Bounds) -> Self {
        let (peer, silence) = (PeerNames::default(), Silence::new(bounds));
        Self { stream: Stream::Plain(stream), peer, silence, _place: place, _counted: Counted::connection() }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, place: OwnedSemaphorePermit, bounds: Bounds) -> Self {
        let own = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = own.map(|certificate| PeerNames::of_certificate(certificate)).unwrap_or_default();
        let silence = Silence::new(bounds);
        let stream = Stream::Tls(Box::new(stream));
        Self { stream, peer, silence, _place: place, _counted: Counted::connection() }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerNames;

    fn connect_info(&self) -> PeerNames {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        match read {
            Poll::Ready(read) => {
                this.silence.end();
                Poll::Ready(read)
            }
            Poll::Pending => match this.silence.poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
