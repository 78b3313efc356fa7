//! The tables of a dictionary.

use std::collections::HashMap;

use prost::Message;

/// Distinct items. The first one is the zero value, as the signal demands.
pub(super) struct Table<T> {
    items: Vec<T>,
    /// By encoding.
    indices: HashMap<Vec<u8>, i32>,
}

impl<T: Message + Default> Table<T> {
    pub(super) fn new() -> Self {
        let mut table = Self {
            items: Vec::new(),
            indices: HashMap::new(),
        };
        table.index(T::default());
        table
    }

    /// The index of an item, which is added if the table does not have it.
    pub(super) fn index(&mut self, item: T) -> i32 {
        let next = i32::try_from(self.items.len()).unwrap_or(i32::MAX);
        let index = *self.indices.entry(item.encode_to_vec()).or_insert(next);
        if index == next {
            self.items.push(item);
        }
        index
    }

    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }
}
