//! A YAML document with the line of each value. JSON is YAML, too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json_;
use serde_saphyr::{Spanned, budget, options};

/// The deepest nesting of a document. A scenario has four levels.
const MAX_DEPTH: usize = 16;

/// The most values of a document, those of aliases included.
const MAX_NODES: usize = 20_000;

/// A value and the line that it begins on, from 1.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) content: Content,
}

/// The content of a value.
#[derive(Debug)]
pub(super) enum Content {
    Scalar(Json_),
    List(Vec<Node>),
    /// The fields in their order. Names are unique.
    Map(Vec<(String, Node)>),
}

impl Content {
    /// What it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Content::Scalar(Json_::Null) => "nothing",
            Content::Scalar(Json_::Bool(_)) => "true or false",
            Content::Scalar(Json_::Number(_)) => "a number",
            Content::Scalar(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map of fields",
        }
    }
}

impl Node {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Why the text is not YAML, with the line if it is known.
    pub(super) fn parse(text: &str) -> Result<Node, String> {
        let options = options! {
            budget: budget! {
                max_depth: MAX_DEPTH,
                max_nodes: MAX_NODES,
                max_documents: 1,
                max_aliases: 100,
            },
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options::<Spanned<Content>>(text, options)
            .map(Node::from)
            .map_err(|error| error.without_snippet().to_string())
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Node {
            line: spanned.referenced.line(),
            content: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Json_::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Json_::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element::<Spanned<Content>>()? {
            nodes.push(node.into());
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, node)) = map.next_entry::<String, Spanned<Content>>()? {
            fields.push((name, node.into()));
        }
        Ok(Content::Map(fields))
    }
}
