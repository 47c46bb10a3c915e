//! A port of a node: its number is kept while nobody listens, and connections are refused
//! meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};

/// How often it is looked whether the port is to change.
const LOOK: Duration = Duration::from_millis(20);

/// How long requests under way have when the port closes.
const GRACE: Duration = Duration::from_millis(300);

/// A port. While nobody listens it is held by a socket that is bound and refuses connections, so
/// that no other program gets its number.
pub(crate) struct Port {
    number: u16,
    held: Mutex<Option<TcpSocket>>,
}

/// Whether a port takes connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It does.
    Open,
    /// It refuses them for now.
    Refusing,
    /// It refuses them, and whoever serves it is to end.
    Closed,
}

impl Port {
    pub(crate) fn reserve() -> io::Result<Self> {
        let socket = bind(0)?;
        Ok(Self { number: socket.local_addr()?.port(), held: Mutex::new(Some(socket)) })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Serves `app` whenever the port is to be open, until it is to be closed. The number is held
    /// again when this returns.
    pub(crate) async fn serve(&self, app: &Router, wish: impl Fn() -> Wish) -> io::Result<()> {
        loop {
            until(|| wish() != Wish::Refusing).await;
            if wish() == Wish::Closed {
                return Ok(());
            }
            self.serve_open(self.listen()?, app, &wish).await?;
            *self.held() = Some(bind(self.number)?);
        }
    }

    async fn serve_open(
        &self,
        listener: TcpListener,
        app: &Router,
        wish: &impl Fn() -> Wish,
    ) -> io::Result<()> {
        let (close, mut closed) = tokio::sync::watch::channel(false);
        let served = axum::serve(listener, app.clone()).with_graceful_shutdown(async move {
            let _ = closed.wait_for(|closed| *closed).await;
        });
        let closing = async {
            until(|| wish() != Wish::Open).await;
            close.send_replace(true);
            // An answer that hangs holds nothing up.
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = served => served,
            () = closing => Ok(()),
        }
    }

    fn listen(&self) -> io::Result<TcpListener> {
        match self.held().take() {
            Some(socket) => socket.listen(64),
            None => bind(self.number)?.listen(64),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<TcpSocket>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(LOOK).await;
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::routing::get;
    use tokio::net::TcpStream;

    use super::*;

    /// Catches: a fault that is to refuse connections and leaves them hanging, and a port that is
    /// lost by it.
    #[tokio::test]
    async fn a_port_opens_refuses_and_opens_again_under_its_number() {
        let port = Arc::new(Port::reserve().expect("a port"));
        let (open, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let wish = {
            let (open, over) = (Arc::clone(&open), Arc::clone(&over));
            move || match (over.load(Ordering::SeqCst), open.load(Ordering::SeqCst)) {
                (true, _) => Wish::Closed,
                (false, true) => Wish::Open,
                (false, false) => Wish::Refusing,
            }
        };
        let served = {
            let port = Arc::clone(&port);
            tokio::spawn(async move {
                port.serve(&Router::new().route("/", get(|| async { "x" })), wish).await
            })
        };
        for wanted in [false, true, false, true] {
            open.store(wanted, Ordering::SeqCst);
            let mut found = !wanted;
            for _ in 0..200 {
                found = TcpStream::connect(("127.0.0.1", port.number())).await.is_ok();
                if found == wanted {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            assert_eq!(found, wanted);
        }
        over.store(true, Ordering::SeqCst);
        served.await.expect("no panic").expect("served");
        TcpStream::connect(("127.0.0.1", port.number())).await.expect_err("closed");
    }
}
