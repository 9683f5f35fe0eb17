//! Shortens names that are invisible outside a script: private names of its classes (`#name`), and constants that it
//! does not export (`const SOME_NAME`).

use std::collections::BTreeMap;

/// The script with `#a`, `#b`, … in place of its private names, and `$a`, `$b`, … in place of constants that it does not
/// export. Expects it without comments, and with no such name in any string.
pub(crate) fn shortened(script: &str) -> String {
    let constants: BTreeMap<&str, String> = own_constants(script).into_iter().zip((0..).map(letters)).collect();
    let mut private: BTreeMap<&str, String> = BTreeMap::new();
    let mut out = String::with_capacity(script.len());
    let mut rest = script;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let before = out.chars().next_back();
        if before == Some('#') && word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let number = private.len();
            out.push_str(private.entry(word).or_insert_with(|| letters(number)));
        } else if let Some(short) = constants.get(word).filter(|_| before != Some('.') || out.ends_with("...")) {
            out.push('$');
            out.push_str(short);
        } else {
            out.push_str(word);
        }
        let mut after = after.chars();
        out.extend(after.next());
        rest = after.as_str();
    }
    out
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Constants in capitals with a `_`, as they are written here, in the order in which they are declared.
fn own_constants(script: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, declared) in script.match_indices("const ") {
        let name = &script[at + declared.len()..];
        let name = &name[..name.find(|c| !is_part(c)).unwrap_or(name.len())];
        let capitals = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if capitals && name.contains('_') && !script[..at].ends_with("export ") && !found.contains(&name) {
            found.push(name);
        }
    }
    found
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
        for script in
            ["let a=1;", "'#1b1e27'", "x#", "", "export const THE_MOST=1;f(THE_MOST)", "a=Number.MAX_VALUE", "é€"]
        {
            assert_eq!(shortened(script), script);
        }
    }

    #[test]
    fn constants_of_a_script_are_its_own() {
        let script =
            "const MOST_OF_IT=3;const N=1;if(a.MOST_OF_IT<MOST_OF_IT+MOST_OF_ITS)f(-MOST_OF_IT,...MOST_OF_IT);";
        assert_eq!(shortened(script), "const $a=3;const N=1;if(a.MOST_OF_IT<$a+MOST_OF_ITS)f(-$a,...$a);");
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
