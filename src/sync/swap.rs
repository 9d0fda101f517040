//! Values that change rarely and are read often: arc-swap, and under loom a specification of it.
//!
//! arc-swap's atomics are `std`'s, so that loom would take each of its calls for one step that
//! orders nothing. The specification promises no more than arc-swap does, and so what holds over
//! it holds over arc-swap, as far as that keeps its word: that is trusted.

#[cfg(not(loom))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
#[cfg(loom)]
pub(crate) use specification::{ArcSwap, ArcSwapOption, Guard};

/// A static place that is empty at first. loom makes a new one for each execution.
macro_rules! static_option {
    ($name:ident: $value:ty) => {
        #[cfg(not(loom))]
        static $name: $crate::sync::ArcSwapOption<$value> =
            $crate::sync::ArcSwapOption::const_empty();
        #[cfg(loom)]
        loom::lazy_static! {
            static ref $name: $crate::sync::ArcSwapOption<$value> = Default::default();
        }
    };
}
pub(crate) use static_option;

/// - A load is an Acquire load: it may return an older value than the newest, but none older
///   than what happens before it, and none that nobody keeps alive any more.
/// - A store, a swap and an exchange that succeeds are AcqRel and act on the newest value; an
///   exchange that fails is an Acquire load of the newest.
///
/// The order is that of a loom atomic with the value's address. The values themselves are found
/// in a table beside it, by address: strong for the newest, weak for older ones, so that nothing
/// is kept alive here that arc-swap would not keep. An address does not come back within an
/// execution, for the weak count keeps its memory.
#[cfg(loom)]
mod specification {
    use std::ops::Deref;
    use std::sync::{Arc, Mutex, PoisonError, Weak};

    use crate::sync::{AtomicUsize, Ordering};

    pub(crate) type ArcSwap<T> = Swap<Arc<T>>;
    pub(crate) type ArcSwapOption<T> = Swap<Option<Arc<T>>>;

    pub(crate) trait Counted: Clone {
        type Weak;
        fn address(&self) -> usize;
        fn downgrade(&self) -> Self::Weak;
        fn upgrade(weak: &Self::Weak) -> Option<Self>;
    }

    impl<T> Counted for Arc<T> {
        type Weak = Weak<T>;

        fn address(&self) -> usize {
            Arc::as_ptr(self).addr()
        }

        fn downgrade(&self) -> Weak<T> {
            Arc::downgrade(self)
        }

        fn upgrade(weak: &Weak<T>) -> Option<Self> {
            weak.upgrade()
        }
    }

    impl<T> Counted for Option<Arc<T>> {
        type Weak = Option<Weak<T>>;

        fn address(&self) -> usize {
            self.as_ref().map_or(0, Counted::address)
        }

        fn downgrade(&self) -> Self::Weak {
            self.as_ref().map(Arc::downgrade)
        }

        fn upgrade(weak: &Self::Weak) -> Option<Self> {
            match weak {
                Some(weak) => weak.upgrade().map(Some),
                None => Some(None),
            }
        }
    }

    pub(crate) struct Swap<C: Counted> {
        address: AtomicUsize,
        /// Of `std`, and touched only right behind an access to `address`, with no switch of
        /// threads in between: both change as one step, and this part orders nothing.
        values: Mutex<Values<C>>,
    }

    struct Values<C: Counted> {
        newest: C,
        older: Vec<(usize, C::Weak)>,
    }

    pub(crate) struct Guard<C>(C);

    impl<C> Guard<C> {
        pub(crate) fn into_inner(guard: Self) -> C {
            guard.0
        }
    }

    impl<C> Deref for Guard<C> {
        type Target = C;

        fn deref(&self) -> &C {
            &self.0
        }
    }

    impl<C: Counted> Values<C> {
        fn find(&self, address: usize) -> Option<C> {
            if address == self.newest.address() {
                return Some(self.newest.clone());
            }
            let (_, weak) = self.older.iter().find(|(known, _)| *known == address)?;
            C::upgrade(weak)
        }

        fn replace(&mut self, new: C) -> C {
            let old = std::mem::replace(&mut self.newest, new);
            self.older.push((old.address(), old.downgrade()));
            old
        }
    }

    impl<C: Counted> Swap<C> {
        pub(crate) fn new(value: C) -> Self {
            let address = AtomicUsize::new(value.address());
            Self { address, values: Mutex::new(Values { newest: value, older: Vec::new() }) }
        }

        fn values<T>(&self, with: impl FnOnce(&mut Values<C>) -> T) -> T {
            with(&mut self.values.lock().unwrap_or_else(PoisonError::into_inner))
        }

        pub(crate) fn load(&self) -> Guard<C> {
            let mut address = self.address.load(Ordering::Acquire);
            loop {
                if let Some(value) = self.values(|values| values.find(address)) {
                    return Guard(value);
                }
                // Nobody keeps that one any more. A read-modify-write sees the newest.
                address = self.address.fetch_or(0, Ordering::Acquire);
            }
        }

        pub(crate) fn load_full(&self) -> C {
            Guard::into_inner(self.load())
        }

        pub(crate) fn swap(&self, new: C) -> C {
            self.address.swap(new.address(), Ordering::AcqRel);
            self.values(|values| values.replace(new))
        }

        pub(crate) fn store(&self, new: C) {
            drop(self.swap(new));
        }

        pub(crate) fn compare_and_swap(&self, current: &C, new: C) -> Guard<C> {
            let (from, to) = (current.address(), new.address());
            let swapped =
                self.address.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
            Guard(self.values(|values| match swapped {
                Ok(_) => values.replace(new),
                Err(_) => values.newest.clone(),
            }))
        }

        pub(crate) fn rcu<N: Into<C>>(&self, mut change: impl FnMut(&C) -> N) -> C {
            let mut old = self.load_full();
            loop {
                let seen = Guard::into_inner(self.compare_and_swap(&old, change(&old).into()));
                if seen.address() == old.address() {
                    return old;
                }
                old = seen;
            }
        }
    }

    impl<T> Swap<Arc<T>> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self::new(Arc::new(value))
        }
    }

    impl<C: Counted + Default> Default for Swap<C> {
        fn default() -> Self {
            Self::new(C::default())
        }
    }
}
