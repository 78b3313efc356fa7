//! The codes of errors, each with its status.

use axum::http::StatusCode;

/// Defines [`ErrorCode`] from one table, so that no code lacks a status or a test.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident;)*) => {
        /// The `code` of an error: a name for programs, with one status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            #[cfg(test)]
            pub(super) const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The text in `error.code`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// The status of the answer.
            pub fn status(self) -> StatusCode {
                match self {
                    $(ErrorCode::$variant => StatusCode::$status,)*
                }
            }
        }
    };
}

error_codes! {
    /// The body is not a JSON object.
    MalformedJson = "malformed_json", BAD_REQUEST;
    /// The bytes are no HTTP request.
    MalformedRequest = "malformed_request", BAD_REQUEST;
    /// The body did not arrive completely.
    BodyUnreadable = "body_unreadable", BAD_REQUEST;
    /// The client closed its side of the connection during a call that takes long.
    ClientClosed = "client_closed", BAD_REQUEST;
    /// The request does not name exactly one host.
    InvalidHost = "invalid_host", BAD_REQUEST;
    /// The admin token is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// A browser sent the request for a page of another origin.
    ForeignOrigin = "foreign_origin", FORBIDDEN;
    /// A browser asks for a call that changes something before its user does.
    Prefetch = "prefetch", FORBIDDEN;
    /// No route has this path.
    NotFound = "not_found", NOT_FOUND;
    /// No loaded leak has this name.
    UnknownLeak = "unknown_leak", NOT_FOUND;
    /// No loaded plugin has this id.
    UnknownPlugin = "unknown_plugin", NOT_FOUND;
    /// No baseline has this name.
    UnknownBaseline = "unknown_baseline", NOT_FOUND;
    /// No exercise has this number.
    UnknownExercise = "unknown_exercise", NOT_FOUND;
    /// No scenario runs.
    NoScenario = "no_scenario", NOT_FOUND;
    /// The host cannot show this source line.
    UnknownSource = "unknown_source", NOT_FOUND;
    /// The flame graph's ticket is unknown or has expired.
    UnknownPicture = "unknown_picture", NOT_FOUND;
    /// The route does not have this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The body arrives too slowly.
    BodyTooSlow = "body_too_slow", REQUEST_TIMEOUT;
    /// The plugin's component file cannot be read.
    PluginUnreadable = "plugin_unreadable", CONFLICT;
    /// Another component has the plugin's id.
    IdTaken = "id_taken", CONFLICT;
    /// Another plugin was loaded from the file that this plugin would be written to.
    FileTaken = "file_taken", CONFLICT;
    /// The plugin is exhausted or faulted.
    PluginNotRunning = "plugin_not_running", CONFLICT;
    /// The plugin failed during this call.
    PluginFailed = "plugin_failed", CONFLICT;
    /// A fresh instance of the plugin does not start.
    PluginNotStarted = "plugin_not_started", CONFLICT;
    /// A mystery hides what this call would show or change.
    MysteryRunning = "mystery_running", CONFLICT;
    /// No mystery runs.
    NoMystery = "no_mystery", NOT_FOUND;
    /// No player has this game id.
    UnknownGame = "unknown_game", NOT_FOUND;
    /// Another participant has this name.
    NameTaken = "name_taken", CONFLICT;
    /// The game has the most participants that it can have.
    GameFull = "game_full", CONFLICT;
    /// The participant got all hints.
    NoHintLeft = "no_hint_left", CONFLICT;
    /// The game is over, and its report has the solution.
    GameOver = "game_over", CONFLICT;
    /// The player has answered already.
    Answered = "answered", CONFLICT;
    /// Only the instructor may do this.
    InstructorOnly = "instructor_only", FORBIDDEN;
    /// A scenario runs already.
    ScenarioRunning = "scenario_running", CONFLICT;
    /// The body is longer than the limit of this call.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The component is larger than the host accepts.
    PluginTooLarge = "plugin_too_large", PAYLOAD_TOO_LARGE;
    /// The admin API is not served under the name that the request uses.
    UnknownHost = "unknown_host", MISDIRECTED_REQUEST;
    /// A value has the wrong type or is out of range.
    InvalidValue = "invalid_value", UNPROCESSABLE_ENTITY;
    /// The query has an unknown parameter or lacks a required one.
    InvalidQuery = "invalid_query", UNPROCESSABLE_ENTITY;
    /// The body has a field that this call does not accept.
    UnknownField = "unknown_field", UNPROCESSABLE_ENTITY;
    /// The body lacks a field that this call requires.
    MissingField = "missing_field", UNPROCESSABLE_ENTITY;
    /// The body is empty instead of a component.
    MissingComponent = "missing_component", UNPROCESSABLE_ENTITY;
    /// The plugin has no setting of this name.
    UnknownSetting = "unknown_setting", UNPROCESSABLE_ENTITY;
    /// The scenario is wrong, or the loaded leaks cannot run it.
    InvalidScenario = "invalid_scenario", UNPROCESSABLE_ENTITY;
    /// The bytes are not a component of the world `leak-plugin`.
    PluginRefused = "plugin_refused", UNPROCESSABLE_ENTITY;
    /// Compiling the component takes more than the host allows.
    PluginTooCostly = "plugin_too_costly", UNPROCESSABLE_ENTITY;
    /// The component has another id than the path.
    IdMismatch = "id_mismatch", UNPROCESSABLE_ENTITY;
    /// The host keeps the maximum number of named baselines.
    TooManyBaselines = "too_many_baselines", TOO_MANY_REQUESTS;
    /// Too many profiles with `seconds` are being made.
    TooManyProfiles = "too_many_profiles", TOO_MANY_REQUESTS;
    /// Too many clients wait for the compilation of a component.
    CompilerBusy = "compiler_busy", TOO_MANY_REQUESTS;
    /// The host itself failed.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The client asked for a failure. `fail=` overrides this default status.
    AskedToFail = "asked_to_fail", INTERNAL_SERVER_ERROR;
    /// Too many calls are queued for the plugin.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// The bodies of other clients take all memory that the host has for bodies.
    UploadsFull = "uploads_full", SERVICE_UNAVAILABLE;
    /// The plugin is being unloaded, or the host is stopping.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// The host has not loaded its plugins yet.
    Starting = "starting", SERVICE_UNAVAILABLE;
    /// The request has too many or too long headers.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// Another component is being checked.
    CheckRunning = "check_running", SERVICE_UNAVAILABLE;
}
