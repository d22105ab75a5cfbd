//! Parts that a build may lack: the types of their values, and the types that replace them in a build without the part.
//!
//! Functions do not need a `cfg` for each question "is there a guard?". In a build without the part its handles have another
//! type, which has no value: the compiler knows the answer, and removes all code for the other answer. Without a handle no
//! code of the part can be reached.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A type without values.
#[derive(Clone, Copy)]
enum Never {}

/// Replaces a shared value of a part that this build lacks. Has no value.
pub struct Absent<T>(Never, PhantomData<T>);

/// Replaces a reference to a value of a part that this build lacks. Has no value.
pub struct AbsentRef<'a, T>(Never, PhantomData<&'a T>);

impl<T> Clone for Absent<T> {
    fn clone(&self) -> Absent<T> {
        match self.0 {}
    }
}

impl<T> Clone for AbsentRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for AbsentRef<'_, T> {}

impl<T> AbsentRef<'_, T> {
    /// Any result, because no value exists.
    pub fn never<U>(self) -> U {
        match self.0 {}
    }
}

impl<T> Deref for Absent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.0 {}
    }
}

impl<T> Deref for AbsentRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.0 {}
    }
}

impl<T> fmt::Debug for Absent<T> {
    fn fmt(&self, _out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl<T> fmt::Debug for AbsentRef<'_, T> {
    fn fmt(&self, _out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Proves that this build has the part.
#[derive(Clone, Copy, Debug)]
pub struct Present(());

/// The types of a part's values, by whether a build has its feature.
macro_rules! part {
    ($name:ident $feature:literal) => {
        #[doc = concat!("How values of the part are held that the feature `", $feature, "` is for.")]
        pub mod $name {
            #[cfg(feature = $feature)]
            mod held {
                use super::super::Present;
                use std::sync::Arc;

                /// A value that is shared.
                pub type Shared<T> = Arc<T>;
                /// A value that is lent.
                pub type Lent<'a, T> = &'a T;
                /// A field of this type marks a value of the part; without the feature it has no value.
                pub type Built = Present;

                /// Shares a value.
                pub fn share<T>(value: T) -> Option<Shared<T>> {
                    Some(Arc::new(value))
                }

                /// Lends a value.
                pub fn lend<T>(shared: Option<&Shared<T>>) -> Option<Lent<'_, T>> {
                    shared.map(Arc::as_ref)
                }

                /// The value itself, for as long as it is lent.
                pub fn lasting<'a, T>(lent: Lent<'a, T>) -> &'a T {
                    lent
                }

                /// Whether this build has the part.
                pub const fn built() -> Option<Built> {
                    Some(Present(()))
                }
            }

            #[cfg(not(feature = $feature))]
            mod held {
                use super::super::{Absent, AbsentRef};

                /// Replaces a shared value.
                pub type Shared<T> = Absent<T>;
                /// Replaces a lent value.
                pub type Lent<'a, T> = AbsentRef<'a, T>;
                /// Has no value, so a struct with a field of this type has none.
                pub type Built = AbsentRef<'static, ()>;

                /// `None`: no value is shared.
                pub fn share<T>(_value: T) -> Option<Shared<T>> {
                    None
                }

                /// `None`: no value is lent.
                pub fn lend<T>(_shared: Option<&Shared<T>>) -> Option<Lent<'_, T>> {
                    None
                }

                /// Is never called: no value is lent.
                pub fn lasting<'a, T>(lent: Lent<'a, T>) -> &'a T {
                    lent.never()
                }

                /// Not in this build.
                pub const fn built() -> Option<Built> {
                    None
                }
            }

            pub use held::{Built, Lent, Shared, built, lasting, lend, share};
        }
    };
}

part!(cache "cache");
part!(guard "guard");
part!(pages "pages");
