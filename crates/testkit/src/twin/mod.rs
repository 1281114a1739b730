//! Twins: local servers that answer as the real providers do, with switches for what goes wrong.

pub mod github;
