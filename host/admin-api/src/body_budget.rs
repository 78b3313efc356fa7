//! Bounds the bytes of request bodies that the host has in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A budget of bytes for the bodies of all clients together.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicU64,
    limit: u64,
}

/// The part of a budget that one body takes. Dropping it gives the bytes back.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

/// The bodies of other clients take the rest of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BudgetExhausted;

impl BodyBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(BodyBudget {
            used: AtomicU64::new(0),
            limit,
        })
    }

    /// A share without bytes.
    pub(crate) fn share(self: &Arc<Self>) -> BodyShare {
        BodyShare {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl BodyShare {
    /// The bytes that the budget has left now.
    pub(crate) fn left(&self) -> u64 {
        let used = self.budget.used.load(Ordering::Relaxed);
        self.budget.limit.saturating_sub(used)
    }

    /// Takes more bytes.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), BudgetExhausted> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.limit {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(BudgetExhausted);
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_never_exceed_the_budget() {
        let budget = BodyBudget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(two.grow(5), Err(BudgetExhausted));
        assert_eq!(two.grow(4), Ok(()));
        assert_eq!((one.grow(1), one.left()), (Err(BudgetExhausted), 0));
        drop(two);
        assert_eq!(one.grow(4), Ok(()));
        drop(one);
        assert_eq!(budget.share().left(), 10);
    }
}
