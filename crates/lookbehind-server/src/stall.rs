//! A socket whose other end must take something now and then.
//!
//! hyper waits for ever for a client that reads no more of its answer. That client keeps one of
//! the places for connections, and what its answer pins; so a write that makes no progress for too
//! long fails, which ends the connection. How long is too long, kernels decide as well: they take
//! some megabytes on behalf of a client before they say that it takes nothing, and let a writer go
//! on only when a good part of that is gone. A player that reads just as fast as it plays may look
//! stalled for a minute or two.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail once they have made no progress for a time.
#[derive(Debug)]
pub struct Impatient<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<S> Impatient<S> {
    /// Waits at most so long for the other end; for ever if `limit` is zero.
    pub fn new(stream: S, limit: Duration) -> Impatient<S> {
        let timer = Box::pin(tokio::time::sleep(limit));
        Impatient { stream, limit, timer, waiting: false }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.limit.is_zero() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            // A time beyond all clocks is as good as none.
            match Instant::now().checked_add(self.limit) {
                Some(end) => self.timer.as_mut().reset(end),
                None => self.limit = Duration::ZERO,
            }
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.judge(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);
    /// What the pipe takes on behalf of its reader.
    const ROOM: usize = 1000;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        let (near, far) = tokio::io::duplex(ROOM);
        let mut near = Impatient::new(near, LIMIT);
        near.write_all(&[1; ROOM]).await.unwrap();
        let begun = Instant::now();
        let error = near.write_all(&[2]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_little_goes_on() {
        let (near, mut far) = tokio::io::duplex(ROOM);
        let mut near = Impatient::new(near, LIMIT);
        let writing = tokio::spawn(async move {
            near.write_all(&[1; 20 * ROOM]).await.unwrap();
            // What waits for other things than the client may do so.
            tokio::time::sleep(LIMIT * 3).await;
            near.write_all(&[1; ROOM]).await
        });
        let mut taken = 0;
        while taken < 21 * ROOM {
            tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
            taken += far.read(&mut [0; ROOM]).await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_none() {
        for limit in [Duration::ZERO, Duration::MAX] {
            let (near, mut far) = tokio::io::duplex(ROOM);
            let mut near = Impatient::new(near, limit);
            let writing = tokio::spawn(async move { near.write_all(&[1; 2 * ROOM]).await });
            tokio::time::sleep(Duration::from_secs(1 << 30)).await;
            far.read_exact(&mut [0; 2 * ROOM]).await.unwrap();
            writing.await.unwrap().unwrap();
        }
    }
}
