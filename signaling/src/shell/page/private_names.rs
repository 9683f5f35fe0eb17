//! The private names of a script's classes (`#name`), shortened: nobody outside a file can know them.

use std::collections::BTreeMap;

/// The script with `#a`, `#b`, … in place of its private names. No string of it may hold a `#` before a letter.
pub(crate) fn shortened(script: &str) -> String {
    let mut short: BTreeMap<&str, String> = BTreeMap::new();
    let mut out = String::with_capacity(script.len());
    let mut rest = script;
    while let Some((before, after)) = rest.split_once('#') {
        out.push_str(before);
        out.push('#');
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, then) = after.split_at(end);
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let number = short.len();
            out.push_str(short.entry(name).or_insert_with(|| letters(number)));
        } else {
            out.push_str(name);
        }
        rest = then;
    }
    out.push_str(rest);
    out
}

/// a to z, then aa, ab, …
fn letters(number: usize) -> String {
    let last = char::from(b'a' + (number % 26) as u8);
    if number < 26 { last.to_string() } else { letters(number / 26 - 1) + &last.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_gets_its_own_wherever_it_stands() {
        let script = "class A{#long=1;#other;f(){return this.#long+b.#other+this?.#long}static #g(){}}";
        assert_eq!(shortened(script), "class A{#a=1;#b;f(){return this.#a+b.#b+this?.#a}static #c(){}}");
    }

    #[test]
    fn what_is_no_name_stays() {
        for script in ["let a=1;", "'#1b1e27'", "x#", ""] {
            assert_eq!(shortened(script), script);
        }
    }

    #[test]
    fn there_are_enough_letters() {
        let names: Vec<String> = (0..2_000).map(letters).collect();
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((distinct.len(), names[26].as_str()), (2_000, "aa"));
    }
}
