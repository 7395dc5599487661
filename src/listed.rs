//! Enums that have a list of all their variants, and are counted in arrays by their place in it.

/// Declares an enum without fields, with `ALL`, `COUNT` and `index`. Written by hand, a list can
/// lack a variant, and the array that it measures is then indexed out of its bounds.
macro_rules! listed {
    (
        $(#[$about:meta])*
        $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }
    ) => {
        $(#[$about])*
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their declaration.
            $vis const ALL: [$name; $name::COUNT] = [$($name::$variant),+];
            /// How many there are.
            $vis const COUNT: usize = [$(stringify!($variant)),+].len();

            /// The place in `ALL`.
            $vis const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use listed;

#[cfg(test)]
mod tests {
    listed! {
        /// Of three.
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Colour {
            /// First.
            Red,
            /// Second.
            Green,
            /// Third.
            Blue,
        }
    }

    #[test]
    fn the_list_has_every_variant_at_its_index() {
        assert_eq!(Colour::ALL, [Colour::Red, Colour::Green, Colour::Blue]);
        assert_eq!(Colour::COUNT, 3);
        assert_eq!(Colour::ALL.map(Colour::index), [0, 1, 2]);
    }
}
