//! Which route takes a request.
//!
//! Precedence: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::model;

/// A piece of a route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    /// `{name}`
    Parameter(String),
    /// `{name+}`, which takes the rest of the path.
    Greedy(String),
}

/// A route, ready to be matched.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) route: model::Route,
    /// `None` is any.
    method: Option<String>,
    /// `None` takes every path: `$default`.
    path: Option<Vec<Segment>>,
}

/// What the path's parameters stand for, by name.
pub(super) type Parameters = BTreeMap<String, String>;

/// Prepares routes; the most specific comes first.
pub(super) fn prepare(routes: &[model::Route]) -> Vec<Route> {
    let mut routes: Vec<Route> = routes.iter().cloned().map(Route::new).collect();
    let order = |route: &Route| {
        let path: Vec<_> = route.path.iter().flatten().map(Segment::precedence).collect();
        // A route for one method goes before one for any.
        (route.path.is_none(), path, Reverse(route.method.is_some()))
    };
    routes.sort_by_key(order);
    routes
}

/// The route that takes a request. The path has no stage and is decoded.
pub(super) fn find<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<(&'a Route, Parameters)> {
    let pieces: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    routes.iter().find_map(|route| Some((route, route.takes(method, &pieces)?)))
}

impl Route {
    fn new(route: model::Route) -> Self {
        let (method, path) = match route.key.split_once(' ') {
            Some((method, path)) => (method, Some(path.trim())),
            None if route.key.starts_with('/') => ("ANY", Some(route.key.as_str())),
            None => ("ANY", None),
        };
        let method = (method != "ANY").then(|| method.to_owned());
        let path = path.map(|path| path.strip_prefix('/').unwrap_or(path).split('/').map(Segment::new).collect());
        Self { route, method, path }
    }

    fn takes(&self, method: &str, pieces: &[&str]) -> Option<Parameters> {
        if self.method.as_ref().is_some_and(|own| own != method) {
            return None;
        }
        let mut parameters = Parameters::new();
        let Some(segments) = &self.path else { return Some(parameters) };
        let mut rest = pieces;
        for segment in segments {
            let (piece, after) = rest.split_first()?;
            match segment {
                Segment::Text(text) if text == piece => {}
                Segment::Parameter(name) if !piece.is_empty() => {
                    parameters.insert(name.clone(), (*piece).to_owned());
                }
                Segment::Greedy(name) if !(piece.is_empty() && after.is_empty()) => {
                    parameters.insert(name.clone(), rest.join("/"));
                    return Some(parameters);
                }
                _ => return None,
            }
            rest = after;
        }
        rest.is_empty().then_some(parameters)
    }
}

impl Segment {
    /// What comes first is more specific. Names of parameters do not count.
    fn precedence(&self) -> (u8, String) {
        match self {
            Self::Text(text) => (0, text.clone()),
            Self::Parameter(_) => (1, String::new()),
            Self::Greedy(_) => (2, String::new()),
        }
    }

    fn new(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Parameter(name.to_owned()),
            },
            None => Self::Text(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn found(keys: &[&str], method: &str, path: &str) -> Option<(String, Vec<(String, String)>)> {
        let route = |key: &&str| model::Route {
            key: (*key).to_owned(),
            function: "F".to_owned(),
            timeout: Duration::from_secs(30),
        };
        let routes = prepare(&keys.iter().map(route).collect::<Vec<_>>());
        find(&routes, method, path)
            .map(|(route, parameters)| (route.route.key.clone(), parameters.into_iter().collect()))
    }

    #[test]
    fn the_most_specific_route_takes_the_request() {
        // The example of the documentation, and more.
        let keys = [
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "GET /pets/dog/1",
            "ANY /pets/cat",
        ];
        for (method, path, key, parameters) in [
            ("GET", "/pets/dog/1", "GET /pets/dog/1", vec![]),
            ("GET", "/pets/dog/2", "GET /pets/dog/{id}", vec![("id", "2")]),
            ("GET", "/pets/cat/1", "GET /pets/{proxy+}", vec![("proxy", "cat/1")]),
            ("POST", "/test/5", "ANY /{proxy+}", vec![("proxy", "test/5")]),
            ("POST", "/pets/dog/1", "ANY /{proxy+}", vec![("proxy", "pets/dog/1")]),
            ("GET", "/pets/cat", "ANY /pets/cat", vec![]),
            ("GET", "/pets/dog/", "GET /pets/{proxy+}", vec![("proxy", "dog/")]),
            ("GET", "/", "$default", vec![]),
        ] {
            let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(found(&keys, method, path), Some((key.to_owned(), parameters.collect())), "{method} {path}");
        }
    }

    #[test]
    fn a_method_goes_before_any() {
        let keys = ["ANY /a", "GET /a", "$default"];

        assert_eq!(found(&keys, "GET", "/a").unwrap().0, "GET /a");
        assert_eq!(found(&keys, "PUT", "/a").unwrap().0, "ANY /a");
        assert_eq!(found(&keys, "PUT", "/a/").unwrap().0, "$default");
    }

    #[test]
    fn names_of_parameters_give_no_precedence() {
        let keys = ["GET /a/{b}/{c}", "GET /a/{d}/e"];

        assert_eq!(found(&keys, "GET", "/a/1/e").unwrap().0, "GET /a/{d}/e");
        assert_eq!(found(&keys, "GET", "/a/1/f").unwrap().0, "GET /a/{b}/{c}");
    }

    #[test]
    fn without_a_default_a_request_may_find_nothing() {
        let keys = ["GET /a/{b}", "POST /"];

        assert_eq!(found(&keys, "GET", "/a"), None);
        assert_eq!(found(&keys, "GET", "/a/"), None);
        assert_eq!(found(&keys, "GET", "/a/b/c"), None);
        assert_eq!(found(&keys, "get", "/a/b"), None);
        assert!(found(&keys, "POST", "/").is_some());
    }
}
