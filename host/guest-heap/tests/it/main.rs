//! guest-heap against real components, built from source.

mod books;
mod c;
mod contexts;
mod fixtures;
mod guest;
mod offsets;
mod same;
mod shapes;
mod stores;
mod traps;
