//! A barrier at a failpoint of this process.

use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::Notify;

/// Whoever came first to a failpoint stands there until this is dropped. Others pass.
pub(crate) struct Held {
    came: Arc<Notify>,
    _barrier: mpsc::Sender<()>,
}

impl Held {
    pub(crate) fn first_at(failpoint: &str) -> Self {
        let (_barrier, raised) = mpsc::channel();
        let first = Mutex::new(Some(raised));
        let came = Arc::new(Notify::new());
        let comes = came.clone();
        let stand = move || {
            let mine = first.lock().unwrap().take();
            if let Some(barrier) = mine {
                comes.notify_one();
                // Nothing is ever sent: the other end goes.
                let _ = barrier.recv();
            }
        };
        fail::cfg_callback(failpoint, stand).unwrap();
        Self { came, _barrier }
    }

    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }
}
