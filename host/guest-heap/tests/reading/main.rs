//! From real stacks of real guests to lines, snapshots, profiles and pictures.
#![allow(unused_imports, dead_code)]

mod fixture;
mod lines;
