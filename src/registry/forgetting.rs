//! Which sessions are forgotten: those that a caller names, that were replaced, or that are too many.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::{PlaceState, Registry, State};
use crate::digest::Stamp;
use crate::session::{Origin, Session};

impl Registry {
    /// Forgets a session; whoever holds it may go on using it.
    pub fn unload(&self, wanted: impl Fn(&Session) -> bool) -> usize {
        let mut state = self.lock();
        let ids: Vec<u64> = state.sessions.iter().filter(|(_, session)| wanted(session)).map(|(id, _)| *id).collect();
        let gone: Vec<_> = ids.iter().filter_map(|id| state.sessions.remove(id)).collect();
        state.places.retain(|_, place| !ids.contains(&place.id));
        drop(state);
        gone.len()
    }

    /// Forgets what was loaded from `path`, however it is spelt, and what it held before if it was changed since.
    pub fn unload_path(&self, path: &Path) -> usize {
        let now = Stamp::of(path).ok();
        let ids: Vec<u64> = {
            let state = self.lock();
            let is_here =
                |text: &OsString, place: &PlaceState| text == path.as_os_str() || Some(place.file.stamp()) == now;
            state.places.iter().filter(|((text, _), place)| is_here(text, place)).map(|(_, place)| place.id).collect()
        };
        let at_path: Vec<Arc<Session>> = {
            let state = self.lock();
            state.sessions.iter().filter(|(id, _)| ids.contains(id)).map(|(_, held)| Arc::clone(held)).collect()
        };
        self.unload(|session| {
            let came_from_path = matches!(session.origin(), Origin::File(file) if file.path() == path);
            came_from_path || at_path.iter().any(|held| std::ptr::eq(&raw const **held, session))
        })
    }

    /// Forgets contents that were replaced in their places and that nobody uses any more.
    pub fn forget_replaced(&self) {
        let gone = self.lock().forget_replaced();
        // Destroying sessions takes time and needs no lock.
        drop(gone);
    }

    /// Forgets `session` if nobody but the caller, who passes the only other reference, holds it.
    pub fn release(&self, session: Arc<Session>) {
        let mut state = self.lock();
        let id = state.sessions.iter().find(|(_, held)| Arc::ptr_eq(held, &session)).map(|(id, _)| *id);
        drop(session);
        let Some(id) = id else { return };
        let gone = match state.sessions.touch(&id) {
            Some(held) if Arc::strong_count(held) == 1 => state.sessions.remove(&id),
            _ => None,
        };
        if gone.is_some() {
            state.places.retain(|_, place| place.id != id);
        }
        drop(state);
    }

    /// Bounds the bytes of all sessions; those that nobody holds go first, the least recently used before the others.
    pub fn set_budget(&self, budget: Option<u64>) {
        let mut state = self.lock();
        state.budget = budget;
        let gone = state.shrink();
        drop(state);
        // Destroying sessions takes time and needs no lock.
        drop(gone);
    }
}

impl State {
    /// Takes out sessions of files that no place holds any more, because they were replaced, and that nobody uses.
    fn forget_replaced(&mut self) -> Vec<Arc<Session>> {
        let State { places, sessions, .. } = self;
        let is_replaced = |(id, session): &(&u64, &Arc<Session>)| {
            let is_file = matches!(session.origin(), Origin::File(_));
            is_file && Arc::strong_count(session) == 1 && places.values().all(|place| place.id != **id)
        };
        let ids: Vec<u64> = sessions.iter().filter(is_replaced).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| sessions.remove(id)).collect()
    }

    /// Takes out sessions that the budget has no room for and that nobody uses.
    pub(super) fn shrink(&mut self) -> Vec<(u64, Arc<Session>)> {
        let Some(budget) = self.budget else { return Vec::new() };
        let gone = self.sessions.shrink_to(budget, |session| Arc::strong_count(session) == 1);
        self.places.retain(|_, place| gone.iter().all(|(id, _)| *id != place.id));
        gone
    }
}
