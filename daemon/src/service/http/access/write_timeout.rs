//! A time limit for writes: a client that does not read its answer loses the connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream whose writes time out.
pub(in crate::service::http) struct WriteTimeout<I> {
    inner: I,
    timeout: Duration,
    /// Runs while a write waits for the other side.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<I> WriteTimeout<I> {
    pub(in crate::service::http) fn new(inner: I, timeout: Duration) -> Self {
        Self {
            inner,
            timeout,
            waits: None,
        }
    }

    /// Checks a write: an error once it has waited for longer than the timeout.
    fn check<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waits = None;
            return done;
        }
        let timeout = self.timeout;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(waits.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WriteTimeout<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.check(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(cx);
        self.check(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.check(cx, done)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_and_one_that_is_read_slowly_does_not() {
        let (ours, theirs) = duplex(4);
        let mut unread = WriteTimeout::new(ours, Duration::from_millis(50));
        let ended = unread.write_all(b"much more than four").await;
        assert_eq!(ended.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        drop(theirs);
        let (ours, mut theirs) = duplex(4);
        let mut slow = WriteTimeout::new(ours, Duration::from_secs(600));
        let reads = tokio::spawn(async move {
            let mut read = Vec::new();
            let mut part = [0; 4];
            while let Ok(n @ 1..) = theirs.read(&mut part).await {
                read.extend_from_slice(&part[..n]);
                tokio::task::yield_now().await;
            }
            read
        });
        slow.write_all(b"much more than four").await.unwrap();
        drop(slow);
        assert_eq!(reads.await.unwrap(), b"much more than four");
    }
}
