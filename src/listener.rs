//! The connections of callers: over TCP, with TLS where it is configured, and no more of them than there may be.

mod bounds;
#[expect(clippy::disallowed_methods, reason = "how long a caller is silent, which no entry knows")]
mod connection;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;

pub use bounds::Bounds;
pub use connection::{Connection, PeerName, PeerNames};
pub use tls::{Tls, TlsError, TlsFiles};

/// How long nothing is accepted after a connection could not be.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often an idle connection is asked by TCP whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Accepts connections within these bounds. With TLS, connections are handed on once both sides agree, and a slow one holds
/// up no other.
#[expect(clippy::disallowed_methods, reason = "the pause after a failure")]
pub fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    bounds: Bounds,
) -> impl Stream<Item = Result<Connection, std::io::Error>> {
    // Set here, since the server's own settings do not reach connections of a listener that it is given. Without a
    // delay, an answer does not wait for the acknowledgement of the one before.
    let mut incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEP_ALIVE));
    let places = Arc::new(Semaphore::new(bounds.most));
    let (accepted, connections) = mpsc::channel(64);
    let accept = async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let next = tokio::select! {
                next = incoming.next() => next,
                () = accepted.closed() => return,
            };
            let stream = match next {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => {
                    // Such as too many open files: others may come through later.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::select! {
                        () = sleep(PAUSE_AFTER_FAILURE) => continue,
                        () = accepted.closed() => return,
                    }
                }
                None => return,
            };
            match &tls {
                None => {
                    if accepted.send(Ok(Connection::plain(stream, place, bounds))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    tokio::spawn(agree(tls.clone(), stream, (place, bounds), accepted.clone()));
                }
            }
        }
    };
    tokio::spawn(accept);
    ReceiverStream::new(connections)
}

/// Agrees with a caller on TLS. One who does not is cut off.
async fn agree(
    tls: Tls,
    stream: tokio::net::TcpStream,
    (place, bounds): (OwnedSemaphorePermit, Bounds),
    accepted: mpsc::Sender<Result<Connection, std::io::Error>>,
) {
    match timeout(bounds.first_bytes, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            // The server may be closing.
            let _ = accepted.send(Ok(Connection::tls(stream, place, bounds))).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a caller does not agree on TLS"),
        Err(_) => tracing::debug!("a caller takes too long to agree on TLS"),
    }
}
