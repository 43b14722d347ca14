//! Who owns a slot: claims, epochs, grace, take-over and planned moves.
