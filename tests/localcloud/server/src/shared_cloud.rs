//! The cloud, shared by all that runs beside it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use localcloud_core::cloud::Cloud;
use localcloud_core::journal::Effect;

/// A cloud behind a lock, and who does what it wants done.
pub(crate) struct SharedCloud {
    cloud: Mutex<Cloud>,
    perform: Box<dyn Fn(Effect) + Send + Sync>,
}

impl SharedCloud {
    pub(crate) fn new(cloud: Cloud, perform: impl Fn(Effect) + Send + Sync + 'static) -> Self {
        Self { cloud: Mutex::new(cloud), perform: Box::new(perform) }
    }

    /// The cloud, for one call. A panic in one request must not end the others, so a poisoned lock
    /// is taken too.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the core, and then whatever it wants done.
    pub(crate) fn act<T>(&self, call: impl FnOnce(&mut Cloud) -> T) -> T {
        let result = call(&mut self.lock());
        let effects = self.lock().take_effects();
        effects.into_iter().for_each(&self.perform);
        result
    }
}
