//! Opens the target of a keeper.

use squire_config::Target;
use squire_engine::Options;
use tokio_util::sync::CancellationToken;

use super::{faults::Trouble, state::Keeper, ticks::beats};
use crate::{
    service::host::host,
    target::{Opened, beyond},
};

impl Keeper {
    /// Opens the target, again and again until it is there.
    pub(super) async fn open(&mut self, stop: &CancellationToken) -> Option<Opened> {
        let options = Options {
            actor: format!("squire@{}", host()),
            lease: self.shared.daemon.lease,
            drift: self.target.drift,
            beyond: beyond(&self.target),
            ..Options::default()
        };
        let mut beats = beats();
        loop {
            let opened = {
                let Target { uri, kind, .. } = self.target.clone();
                let options = options.clone();
                let opening = async move { Opened::open(&uri, kind, options).await };
                let mut opening = std::pin::pin!(opening);
                let patience = self.shared.daemon.look_timeout;
                let mut late = std::pin::pin!(tokio::time::sleep(patience));
                let mut in_time = true;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return None,
                        opened = &mut opening => break opened,
                        // It is not begun anew: on a disk that hangs, each attempt would hold another thread.
                        () = &mut late, if in_time => {
                            in_time = false;
                            self.polled(Err(Trouble::NoAnswer(patience)));
                            self.shared.liveness.answers(&self.target.name, false);
                        }
                        _ = beats.tick() => self.shared.liveness.beat(&self.target.name),
                    }
                }
            };
            self.shared.liveness.answers(&self.target.name, true);
            match opened {
                Ok(opened) => {
                    tracing::info!(target_name = %self.target.name, uri = opened.uri(), kind = %opened.kind(), "keeping a target");
                    self.shared.metrics.opened(&self.target.name, opened.kind());
                    self.shared
                        .status
                        .opened(&self.target.name, opened.uri(), opened.kind());
                    return Some(opened);
                }
                Err(e) => self.polled(Err(Trouble::Failed(e))),
            }
            let mut pause = std::pin::pin!(tokio::time::sleep(self.shared.daemon.tick));
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    () = &mut pause => break,
                    _ = beats.tick() => self.shared.liveness.beat(&self.target.name),
                }
            }
        }
    }
}
