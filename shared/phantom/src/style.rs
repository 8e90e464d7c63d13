//! Kinds of slices: true to anatomy, or strange on purpose.

/// What a slice is made up of.
///
/// A network that has only seen one way of making pictures learns what gives that way away. So most styles leave anatomy
/// behind: their backgrounds are flat shapes, clouds or foam, their arrays lie on spirals of any tightness, tilt and place.
/// A style that a network was not trained on also tells how well it does on pictures that it can't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// A temporal bone with the array in its cochlea, upright.
    Anatomy,
    /// A temporal bone seen from anywhere, and an array of any curve that has nothing to do with it.
    Astray,
    /// Shapes with sharp and soft outlines, one over the other like fallen leaves.
    Leaves,
    /// Smooth noise, folded and cut to a few grey levels.
    Clouds,
    /// Cells with walls, as of the mastoid, of any size and filling.
    Foam,
}

impl Style {
    /// All styles.
    pub const ALL: [Self; 5] = [Self::Anatomy, Self::Astray, Self::Leaves, Self::Clouds, Self::Foam];

    /// The mixture that networks are trained on: named as often as it is wanted.
    pub const TRAINING: [Self; 10] = [
        Self::Anatomy,
        Self::Anatomy,
        Self::Anatomy,
        Self::Anatomy,
        Self::Astray,
        Self::Astray,
        Self::Leaves,
        Self::Leaves,
        Self::Clouds,
        Self::Foam,
    ];

    /// This style alone, for [`SliceOptions::styles`](crate::SliceOptions::styles).
    pub fn alone(self) -> &'static [Self] {
        match self {
            Self::Anatomy => &[Self::Anatomy],
            Self::Astray => &[Self::Astray],
            Self::Leaves => &[Self::Leaves],
            Self::Clouds => &[Self::Clouds],
            Self::Foam => &[Self::Foam],
        }
    }

    /// Neither upright nor in a cochlea.
    pub(crate) fn is_wild(self) -> bool {
        self != Self::Anatomy
    }
}

/// How well a slice can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quality {
    /// All that occurs.
    Any,
    /// A sharp scanner with little noise, bright contacts, no viewer between.
    Clean,
    /// The blurriest scanner: contacts melt into a band.
    Blurred,
}
