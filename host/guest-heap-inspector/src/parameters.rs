//! The parameters of a query.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use guest_heap::snapshot::GroupBy;

use crate::error::{InspectorError, shorten};
use crate::query::{InvalidParameter, group_by, limit};

/// The parameters of a query by name.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query. Refuses parameters that are not in `known`, and repeated ones.
    pub(crate) fn of(uri: &Uri, known: &'static [&'static str]) -> Result<Self, InspectorError> {
        let invalid = |message: String| {
            let hint = format!("the query accepts {}", known.join(", "));
            InspectorError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_query",
                message,
                hint,
            )
        };
        let Query(pairs): Query<Vec<(String, String)>> = Query::try_from_uri(uri)
            .map_err(|rejection| invalid(shorten(&rejection.body_text())))?;
        for (position, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(invalid(format!("unknown parameter {:?}", shorten(name))));
            }
            if pairs.iter().take(position).any(|(other, _)| other == name) {
                return Err(invalid(format!("{name} is given more than once")));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn limit(&self, default: usize) -> Result<usize, InvalidParameter> {
        limit(self.get("limit"), default)
    }

    pub(crate) fn group_by(&self) -> Result<GroupBy, InvalidParameter> {
        group_by(self.get("group_by"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_or_repeated_parameter_is_refused() {
        let parse = |query: &'static str| {
            let uri = Uri::from_static(query);
            Parameters::of(&uri, &["limit", "guest"])
        };
        assert_eq!(parse("/x?limit=3&guest=a").unwrap().get("limit"), Some("3"));
        assert_eq!(parse("/x").unwrap().get("limit"), None);
        for wrong in ["/x?colour=red", "/x?limit=1&limit=2"] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(error.hint(), "the query accepts limit, guest", "{wrong}");
        }
    }
}
