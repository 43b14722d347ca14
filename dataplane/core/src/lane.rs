//! Priority classes.

/// Priority class of a message. The order of the variants is the order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Kicks, mutes, room life: lossless within the retained window.
    Control = 0,
    /// Allow-listed users and types, gifts: lossless within the retained window.
    Protected = 1,
    /// Chat: may be sampled.
    Normal = 2,
    /// Likes, entries: the first to go.
    Low = 3,
}

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 4;
    /// All lanes, most important first.
    pub const ALL: [Self; Self::COUNT] = [Self::Control, Self::Protected, Self::Normal, Self::Low];

    /// Its number on the wire: 0 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its place in an array by lane.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lane of a number on the wire, none above 3.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Control),
            1 => Some(Self::Protected),
            2 => Some(Self::Normal),
            3 => Some(Self::Low),
            _ => None,
        }
    }

    /// Whether its messages must reach everybody within the retained window (lanes 0 and 1).
    #[must_use]
    pub const fn is_lossless(self) -> bool {
        matches!(self, Self::Control | Self::Protected)
    }
}

impl serde::Serialize for Lane {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> serde::Deserialize<'de> for Lane {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u8(Number)
    }
}

/// Reads the number of a lane; its errors name the four that there are.
struct Number;

impl serde::de::Visitor<'_> for Number {
    type Value = Lane;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a lane: 0, 1, 2 or 3")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Lane, E> {
        let lane = u8::try_from(number).ok().and_then(Lane::from_number);
        lane.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lanes_agree() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane.number()), Some(lane));
        }
        assert_eq!(Lane::from_number(4), None);
    }

    #[test]
    fn control_matters_most() {
        assert!(Lane::Control < Lane::Protected && Lane::Protected < Lane::Normal && Lane::Normal < Lane::Low);
    }
}
