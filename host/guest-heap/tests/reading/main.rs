//! From real stacks of real guests to lines, snapshots, profiles and pictures.

mod fixture;
mod lines;
