//! A server on loopback that answers as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request, as far as tests care.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A status, further header lines each ending in CR LF, and a body.
pub(crate) type Reply = (u16, String, Vec<u8>);

/// Serves until the test ends; returns the URL.
pub(crate) async fn serve(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> String {
    serve_counting(answer).await.0
}

/// The same, and counts the connections.
pub(crate) async fn serve_counting(
    answer: impl Fn(Request) -> Reply + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { converse(stream, answer.as_ref()).await });
        }
    });
    (url, connections)
}

async fn converse(stream: TcpStream, answer: &(impl Fn(Request) -> Reply + Sync)) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream).await?;
        let (status, headers, body) = answer(request);
        let head =
            format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
