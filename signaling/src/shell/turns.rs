//! Work that strangers can ask for in crowds takes turns with everything else on the server's
//! thread.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lets a few pieces of one kind of work be done before everything else has its turn; further ones
/// wait, in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Waits until a piece may be done, which takes until what is returned is dropped.
    pub(super) async fn next(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.0.acquire().await.ok();
        tokio::task::yield_now().await;
        turn
    }
}
