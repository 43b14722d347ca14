//! The pure planner: placement and paced moves of slots.
