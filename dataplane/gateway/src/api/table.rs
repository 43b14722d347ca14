//! Every path of the API, once: the router, the documents and their test are held to this table.

use axum::Router;
use axum::routing::{MethodFilter, on};

use super::{Api, lists, members, messages, rooms, users};

macro_rules! table {
    ($($method:ident $path:literal => $handler:path,)*) => {
        /// Method and path of every call, `{name}` for a part that the caller fills in.
        pub const TABLE: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        pub(super) fn routes() -> Router<Api> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
        }
    };
}

table! {
    GET "/v1/rooms" => rooms::list,
    PUT "/v1/rooms/{room}" => rooms::put,
    GET "/v1/rooms/{room}" => rooms::describe,
    DELETE "/v1/rooms/{room}" => rooms::destroy,
    GET "/v1/rooms/{room}/members" => members::page,
    POST "/v1/rooms/{room}/kick" => members::kick,
    POST "/v1/rooms/{room}/messages" => messages::publish,
    DELETE "/v1/rooms/{room}/messages/{epoch}/{lane}/{seq}" => messages::delete,
    GET "/v1/rooms/{room}/lists/{list}" => lists::read,
    POST "/v1/rooms/{room}/lists/{list}" => lists::change,
    POST "/v1/announce" => messages::announce,
    POST "/v1/users/{user}/messages" => users::direct,
    POST "/v1/users/{user}/kick" => users::kick,
}
