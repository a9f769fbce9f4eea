//! Which operations this process heals at the moment.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::ids::OperationId;

/// The operations that a process heals at the moment. Many calls may wait for one operation; one of them heals it.
#[derive(Debug, Default)]
pub(crate) struct InProgress(Arc<Mutex<HashSet<OperationId>>>);

/// Marks an operation as being healed, until it is dropped.
pub(super) struct Guard {
    operation: OperationId,
    of: Arc<Mutex<HashSet<OperationId>>>,
}

impl InProgress {
    /// Whether a call of this process heals the operation.
    pub(super) fn holds(&self, operation: OperationId) -> bool {
        let at_work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.contains(&operation)
    }

    /// `None` when another call of this process heals it.
    pub(super) fn enter(&self, operation: OperationId) -> Option<Guard> {
        let mut at_work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.insert(operation).then(|| Guard {
            operation,
            of: self.0.clone(),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut at_work = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.remove(&self.operation);
    }
}
