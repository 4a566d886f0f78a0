//! The registry of this process, and what a forked child takes over of its parent's.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Registry;
use crate::fork;

static GLOBAL: ArcSwapOption<Registry> = ArcSwapOption::const_empty();

impl Registry {
    /// The registry of this process. A forked child gets a new one, which takes over what the fork left usable.
    pub fn global() -> Arc<Self> {
        loop {
            let current = GLOBAL.load();
            if let Some(registry) = current.as_ref()
                && registry.generation == fork::generation()
            {
                return Arc::clone(registry);
            }
            let fresh = Arc::new(current.as_ref().map_or_else(Self::default, |parent| Self::inherit(parent)));
            let _ = GLOBAL.compare_and_swap(&current, Some(fresh));
            // The parent's registry may hold locks of threads that do not exist here: it is never dropped.
            std::mem::forget(arc_swap::Guard::into_inner(current));
        }
    }

    fn inherit(parent: &Self) -> Self {
        let child = Self::default();
        // A lock that another thread held at the fork is never released here; then the child starts empty.
        if let (Ok(mut from), Ok(mut to)) = (parent.state.try_lock(), child.state.try_lock()) {
            to.budget = from.budget;
            to.next_id = from.next_id;
            // Moved, not shared: what the parent's registry held must not count as a holder here.
            to.sessions = std::mem::take(&mut from.sessions);
            let lost: Vec<u64> =
                to.sessions.iter().filter(|(_, session)| !session.is_usable_here()).map(|(id, _)| *id).collect();
            for id in lost {
                drop(to.sessions.remove(&id));
            }
            let places = std::mem::take(&mut from.places);
            to.places = places.into_iter().filter(|(_, place)| to.sessions.contains(&place.id)).collect();
        }
        child
    }
}
