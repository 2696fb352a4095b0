//! Memory for bodies, and for long answers: a budget for all of them, and a share for those of one address.

use crate::error::Error;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in units of this many bytes: a semaphore's permits must stay below 2^29.
const UNIT: usize = 1024;

/// Where a request comes from. Behind a proxy all come from one place, so that a share is most of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// Of IPv6 the network: whoever has one address there has all of them.
    pub fn of(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

/// Memory for all bodies, and long answers, that are held at the same time.
pub struct Budget(Arc<Shared>);

struct Shared {
    free: Arc<Semaphore>,
    /// Units of all of it.
    all: usize,
    /// Units that each address has. Those that have none are not in it.
    held: Mutex<HashMap<Peer, usize>>,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        // Every change is one assignment: what another thread's panic left behind is as good as before.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// A budget of so many MiB.
    pub fn new(mib: u32) -> Self {
        let all = mib as usize * (1 << 20) / UNIT;
        Self(Arc::new(Shared {
            free: Arc::new(Semaphore::new(all)),
            all,
            held: Mutex::default(),
        }))
    }

    /// Whether less than a quarter is left.
    pub fn is_short(&self) -> bool {
        self.0.free.available_permits() < self.0.all / 4
    }

    /// How much is held, in bytes.
    pub fn held(&self) -> usize {
        (self.0.all - self.0.free.available_permits()) * UNIT
    }

    /// Nothing so far, for a request from there. Without an address there is no share to keep to.
    pub fn claim(&self, peer: Option<Peer>) -> Claim {
        Claim {
            budget: self.0.clone(),
            peer,
            permit: None,
        }
    }
}

/// Memory that somebody has, until this is dropped.
pub struct Claim {
    budget: Arc<Shared>,
    peer: Option<Peer>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Claim {
    /// How much it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.units() * UNIT
    }

    fn units(&self) -> usize {
        self.permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Takes so many bytes more, if there are so many, and if one address then has three quarters of all at most.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let units = bytes.div_ceil(UNIT);
        let few = u32::try_from(units).map_err(|_| Error::BodiesFull)?;
        let mut held = self.budget.held();
        if let Some(peer) = self.peer {
            let has = held.get(&peer).copied().unwrap_or_default();
            if has + units > self.budget.all / 4 * 3 {
                return Err(Error::BodiesFull);
            }
        }
        let free = self.budget.free.clone();
        let taken = free
            .try_acquire_many_owned(few)
            .map_err(|_| Error::BodiesFull)?;
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        if let Some(peer) = self.peer {
            *held.entry(peer).or_default() += units;
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let units = self.units();
        let Some(peer) = self.peer.filter(|_| units > 0) else {
            return;
        };
        let mut held = self.budget.held();
        if let Some(has) = held.get_mut(&peer) {
            *has = has.saturating_sub(units);
            if *has == 0 {
                held.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer::of(SocketAddr::new(address.parse().unwrap(), 1)))
    }

    #[test]
    fn one_address_leaves_a_quarter_for_others() {
        let budget = Budget::new(1);
        let claims = |address: &str, bytes: usize| {
            let mut claim = budget.claim(peer(address));
            claim.grow(bytes).map(|()| claim)
        };
        let first = claims("10.0.0.1", 700_000).unwrap();
        assert_eq!(first.bytes(), 700_416);
        assert!(claims("10.0.0.1", 100_000).is_err());
        assert!(claims("::ffff:10.0.0.1", 100_000).is_err());
        assert!(claims("10.0.0.2", 100_000).is_ok());
        drop(first);
        assert!(claims("10.0.0.1", 700_000).is_ok());
        assert!(claims("10.0.0.1", 800_000).is_err());
        assert!(budget.0.held().is_empty());
        let mut anybody = budget.claim(None);
        assert!(anybody.grow(1 << 20).is_ok() && anybody.grow(1).is_err());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::2:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }
}
