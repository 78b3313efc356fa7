//! Counts handles: finds the imports and exports by which a core module gets, drops and passes on
//! handles, and makes their wrappers.
//!
//! A handle of a component is a number in the table of its instance. The types of the component say
//! where these numbers are in the parameters and results of core functions:
//!
//! 1. `survey` looks at all component definitions, and decides which modules are counted.
//! 2. `definition` finds the functions with handles in one of them, and what cannot be counted.
//!    `resource_names` has the names of its resource types.
//!    `counted` has what they do with handles.
//! 3. `shape` finds the places of handles in a type, with the layouts of `layout`.
//! 4. `late_results` writes the code that follows the results of asynchronous calls: their handles
//!    and their blocks.
//! 5. `wrapper` writes the wrappers of the functions. `emitter` writes the code that passes the
//!    handles in a value to the runtime.

mod counted;
mod definition;
mod emitter;
mod late_results;
mod layout;
mod options;
mod resource_names;
mod shape;
mod survey;
mod wrapper;

pub(super) use counted::{CountedExport, ModuleHandles};
pub(super) use survey::{HandleSurvey, Ledger};
pub(super) use wrapper::{HandleFunctions, ImportWrappers};
