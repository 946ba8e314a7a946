//! Every text of the window passes through here: [`t!`] says it in the language that is spoken, [`count!`] with a number.
//!
//! The English text is its own name and stands where it is drawn; `assets/lang/window.de.toml` has the German for it.
//! Its parameters are named, `{name}`, since another language puts them in another order.

use bootyard_core::lang::{Language, spoken};

/// A text of the window. `t!("Stop")` is a `&'static str`; with parameters, `t!("{n} of {all}", n = 1, all = 2)`, a `String`.
macro_rules! t {
    ($text:literal) => {
        bootyard_core::lang::text($text)
    };
    ($text:literal, $($name:ident = $value:expr),+ $(,)?) => {
        bootyard_core::lang::text_with($text, &[$((stringify!($name), &$value)),+])
    };
}

/// A text about `n` of something: `count!(hosts.len(), "{n} machine", "{n} machines")`. More parameters may follow.
macro_rules! count {
    ($n:expr, $one:literal, $many:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let n = $n;
        bootyard_core::lang::text_with(if n == 1 { $one } else { $many }, &[("n", &n), $((stringify!($name), &$value)),*])
    }};
}

pub(crate) use {count, t};

/// A text that goes on in another one: there it begins with a small letter, unless the language has it otherwise.
pub(super) fn inside(text: String) -> String {
    let mut rest = text.chars();
    match (spoken(), rest.next()) {
        (Language::English, Some(first)) => first.to_lowercase().chain(rest).collect(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use bootyard_core::lang::{Language, speak_here};

    use super::inside;

    #[test]
    fn a_text_is_said_in_the_language_that_is_spoken() {
        assert_eq!(t!("Stop"), "Stop");
        assert_eq!(count!(1, "{n} machine", "{n} machines"), "1 machine");
        assert_eq!(count!(3_usize, "{n} of {all}", "{n} of {all}", all = 4), "3 of 4");
        assert_eq!(inside("Importing Lab".into()), "importing Lab");
        speak_here(Language::German);
        assert_eq!(inside("Debian wird kopiert".into()), "Debian wird kopiert");
        assert_eq!(t!("Stop"), "Anhalten");
        speak_here(Language::English);
    }
}
