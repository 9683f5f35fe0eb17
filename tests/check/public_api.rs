//! The public API of the crate to embed, one line per item, so that a change of it is seen in a
//! review.
//!
//! Read from the sources with `syn`: what `crates/peer/src/lib.rs` exports at its root and in its
//! public modules, with the fields, variants, methods and trait implementations of each type, in this crate and in those
//! that it re-exports from. A type that a macro defines stands there as the macro's call. Bodies,
//! doc comments and private items do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Fields, ImplItem, Item, TraitItem, Type, UseTree, Visibility};

const KEPT: &str = "crates/peer/public-api.txt";

/// The public modules: the name outside, the crate and its source. `over::network` is what a game's
/// network is made of.
const MODULES: [(&str, &str, &str); 2] = [
    ("over", "self", "crates/peer/src/over.rs"),
    ("over::network", "self", "crates/peer/src/over/network.rs"),
];

/// The crates that the root re-exports from, as they are called in `use`, and where their sources
/// are.
fn folder(name: &str) -> Option<PathBuf> {
    match name {
        "self" | "crate" => Some("crates/peer/src".into()),
        "bytes" => None,
        _ => Some(format!("crates/{}/src", name.strip_prefix("voicemesh_")?).into()),
    }
}

/// The exports of a `lib.rs`: the name outside, with the crate and the name that it has there.
fn exports(lib: &str) -> BTreeMap<String, (String, String)> {
    let file = syn::parse_file(lib).expect("lib.rs is Rust");
    let modules: BTreeSet<String> = file
        .items
        .iter()
        .filter_map(|item| {
            if let Item::Mod(module) = item { Some(module.ident.to_string()) } else { None }
        })
        .collect();
    let mut found = BTreeMap::new();
    for item in &file.items {
        match item {
            Item::Use(item) if is_public(&item.vis) => {
                names(&item.tree, &mut Vec::new(), &modules, &mut found)
            }
            _ => {}
        }
    }
    found
}

fn names(
    tree: &UseTree,
    path: &mut Vec<String>,
    modules: &BTreeSet<String>,
    found: &mut BTreeMap<String, (String, String)>,
) {
    let mut add = |outside: String, inside: String| {
        let first = path.first().cloned().unwrap_or_default();
        let origin = if modules.contains(&first) { "self".to_owned() } else { first };
        found.insert(outside, (origin, inside));
    };
    match tree {
        UseTree::Name(name) => add(name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(name) => add(name.rename.to_string(), name.ident.to_string()),
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            names(&step.tree, path, modules, found);
            path.pop();
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| names(tree, path, modules, found))
        }
        UseTree::Glob(_) => {
            panic!("`pub use {}::*` hides what is public: name it", path.join("::"))
        }
    }
}

/// What the public modules export, their own items and what they pass on.
fn module_exports(root: &Path, lib: &str) -> BTreeMap<String, (String, String)> {
    for item in syn::parse_file(lib).expect("lib.rs is Rust").items {
        if let Item::Mod(module) = item
            && is_public(&module.vis)
        {
            let name = module.ident.to_string();
            assert!(MODULES.iter().any(|(known, ..)| *known == name), "{name} is not listed");
        }
    }
    let mut found = BTreeMap::new();
    for (outside, origin, source) in MODULES {
        let text = fs::read_to_string(root.join(source)).expect("a module");
        let mut names: BTreeMap<_, _> = exports(&text)
            .into_iter()
            .map(|(name, (from, inside))| match from.as_str() {
                "self" | "crate" => (name, (origin.to_owned(), inside)),
                _ => (name, (from, inside)),
            })
            .collect();
        for item in syn::parse_file(&text).expect("a module is Rust").items {
            let own = match &item {
                Item::Struct(item) if is_public(&item.vis) => &item.ident,
                Item::Enum(item) if is_public(&item.vis) => &item.ident,
                Item::Trait(item) if is_public(&item.vis) => &item.ident,
                Item::Fn(item) if is_public(&item.vis) => &item.sig.ident,
                _ => continue,
            };
            names.insert(own.to_string(), (origin.to_owned(), own.to_string()));
        }
        let names = names.into_iter().map(|(name, from)| (format!("{outside}::{name}"), from));
        found.extend(names.filter(|(name, _)| MODULES.iter().all(|(module, ..)| module != name)));
    }
    found
}

/// From which other crate a crate has a name that it exports.
fn passed_on(items: &[Item], name: &str) -> Option<(String, String)> {
    let mut found = BTreeMap::new();
    for item in items {
        if let Item::Use(item) = item
            && is_public(&item.vis)
            && matches!(&item.tree, UseTree::Path(step) if step.ident.to_string().starts_with("voicemesh_"))
        {
            names(&item.tree, &mut Vec::new(), &BTreeSet::new(), &mut found);
        }
    }
    found.remove(name)
}

/// One line per public item of the crate.
fn dump(root: &Path) -> String {
    let lib = fs::read_to_string(root.join("crates/peer/src/lib.rs")).expect("lib.rs");
    let mut lines = BTreeSet::new();
    let mut sources: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    let mut exported = exports(&lib);
    exported.extend(module_exports(root, &lib));
    for (outside, (mut origin, mut inside)) in exported {
        let before = lines.len();
        // From crate to crate, until one defines it.
        loop {
            let Some(folder) = folder(&origin) else {
                lines.insert(format!("{outside}: {origin}::{inside}"));
                break;
            };
            let items =
                sources.entry(origin.clone()).or_insert_with(|| items_below(&root.join(folder)));
            items.iter().for_each(|item| describe(item, &outside, &inside, &mut lines));
            if lines.len() > before {
                break;
            }
            let further = passed_on(items, &inside).filter(|(further, _)| *further != origin);
            (origin, inside) = further
                .unwrap_or_else(|| panic!("{origin}::{inside} is exported, and not defined"));
        }
    }
    let mut text = lines.into_iter().collect::<Vec<_>>().join("\n");
    text.push('\n');
    text
}

/// All items of the sources below a folder, those of inline modules included, tests not.
fn items_below(folder: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            items.extend(items_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let file = syn::parse_file(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            unfold(file.items, &mut items);
        }
    }
    items
}

fn unfold(from: Vec<Item>, into: &mut Vec<Item>) {
    for item in from {
        match item {
            Item::Mod(module) if module.ident != "tests" => {
                unfold(module.content.map(|(_, items)| items).unwrap_or_default(), into);
            }
            Item::Mod(_) => {}
            item => into.push(item),
        }
    }
}

/// Adds the lines of an item, if it defines or implements something for the type of this name.
fn describe(item: &Item, outside: &str, name: &str, lines: &mut BTreeSet<String>) {
    let mut add = |line: String| {
        lines.insert(line);
    };
    match item {
        Item::Struct(item) if item.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: struct{}{}", generics(&item.generics), marks(&item.attrs)));
            fields(&item.fields, &format!("{outside}."), true).into_iter().for_each(&mut add);
        }
        Item::Enum(item) if item.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: enum{}{}", generics(&item.generics), marks(&item.attrs)));
            for variant in &item.variants {
                let path = format!("{outside}::{}", variant.ident);
                let value =
                    variant.discriminant.as_ref().map(|(_, value)| format!(" = {}", plain(value)));
                add(format!(
                    "{path}: variant{}{}",
                    value.unwrap_or_default(),
                    marks(&variant.attrs)
                ));
                fields(&variant.fields, &format!("{path}."), false).into_iter().for_each(&mut add);
            }
        }
        Item::Trait(item) if item.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: trait{}", generics(&item.generics)));
            for inner in &item.items {
                if let TraitItem::Fn(method) = inner {
                    add(format!("{outside}::{}", plain(&method.sig)));
                }
            }
        }
        Item::Fn(item) if item.sig.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: {}", plain(&item.sig)));
        }
        Item::Const(item) if item.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: const {} = {}", plain(&item.ty), plain(&item.expr)));
        }
        Item::Type(item) if item.ident == name && is_public(&item.vis) => {
            add(format!("{outside}: type{} = {}", generics(&item.generics), plain(&item.ty)));
        }
        Item::Impl(item) if is_of(&item.self_ty, name) => {
            let target = plain(&item.self_ty);
            if let Some((_, path, _)) = &item.trait_ {
                add(format!(
                    "{outside}: impl{} {} for {target}",
                    generics(&item.generics),
                    plain(path)
                ));
                return;
            }
            for inner in &item.items {
                match inner {
                    ImplItem::Fn(method) if is_public(&method.vis) => {
                        add(format!("{outside}::{}: {}", method.sig.ident, plain(&method.sig)));
                    }
                    ImplItem::Const(constant) if is_public(&constant.vis) => {
                        let value = plain(&constant.expr);
                        add(format!(
                            "{outside}::{}: const {} = {value}",
                            constant.ident,
                            plain(&constant.ty)
                        ));
                    }
                    _ => {}
                }
            }
        }
        // A `macro_rules!` has a name here, a call has none.
        Item::Macro(item) if item.ident.is_none() && names_it(item.mac.tokens.clone(), name) => {
            add(format!("{outside}: {}! {{ {} }}", plain(&item.mac.path), plain(&item.mac.tokens)));
        }
        _ => {}
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_of(target: &Type, name: &str) -> bool {
    match target {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        Type::Reference(reference) => is_of(&reference.elem, name),
        _ => false,
    }
}

/// Whether a macro's call defines this: `enum Name`, `struct Name`, or the name as its first word.
fn names_it(tokens: TokenStream, name: &str) -> bool {
    let words: Vec<String> = tokens.into_iter().map(|token| token.to_string()).collect();
    let defines = |pair: &[String]| {
        ["enum", "struct", "fn", "type"].contains(&pair[0].as_str()) && pair[1] == name
    };
    words.first().is_some_and(|first| first == name) || words.windows(2).any(defines)
}

fn fields(fields: &Fields, path: &str, only_public: bool) -> Vec<String> {
    let line = |(at, field): (usize, &syn::Field)| {
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        format!("{path}{name}: {}", plain(&field.ty))
    };
    fields
        .iter()
        .enumerate()
        .filter(|(_, field)| !only_public || is_public(&field.vis))
        .map(line)
        .collect()
}

fn generics(generics: &syn::Generics) -> String {
    format!("{}{}", plain(generics), generics.where_clause.as_ref().map(plain).unwrap_or_default())
}

/// What of the attributes is a promise: derived traits, and what may grow or should not be used.
fn marks(attributes: &[syn::Attribute]) -> String {
    let told = ["derive", "non_exhaustive", "deprecated", "repr", "must_use", "cfg"];
    let mut marks: Vec<String> = attributes
        .iter()
        .filter(|attribute| told.iter().any(|name| attribute.path().is_ident(name)))
        .map(|attribute| format!(" #[{}]", plain(&attribute.meta)))
        .collect();
    marks.sort();
    marks.concat()
}

/// The text of tokens, without doc comments and with spaces where a reader expects them.
fn plain(tokens: &impl ToTokens) -> String {
    let mut text = without_docs(tokens.to_token_stream())
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" : ", ": "),
        ("& ", "&"),
        ("( ", "("),
        (" )", ")"),
        (" (", "("),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
        (",)", ")"),
        ("-> (", "->("),
    ] {
        text = text.replace(from, to);
    }
    text.replace("->(", "-> (")
}

fn without_docs(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_doc = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().starts_with("doc"));
        if is_doc {
            tokens.next();
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner = without_docs(group.stream());
                TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner))
            }
            token => token,
        });
    }
    kept.into_iter().collect()
}

/// The first lines that are in one text and not in the other.
fn difference(kept: &str, now: &str) -> String {
    let [kept, now] = [kept, now].map(|text| text.lines().collect::<BTreeSet<_>>());
    let gone = kept.difference(&now).map(|line| format!("- {line}\n"));
    let new = now.difference(&kept).map(|line| format!("+ {line}\n"));
    gone.chain(new).take(40).collect()
}

#[test]
fn the_public_api_is_the_one_that_is_committed() {
    let root = crate::files::root();
    let now = dump(&root);
    let path = root.join(KEPT);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).expect("the dump is written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        kept == now,
        "the public API has changed; if it should, UPDATE=1 cargo test --workspace --test check public_api\n{}",
        difference(&kept, &now)
    );
}

#[test]
fn a_planted_public_function_is_seen_and_a_private_one_is_not() {
    let source = "impl Peer { pub fn added(&self, at: Duration) -> bool { true } fn hidden(&self) {} pub(crate) fn inner() {} }";
    let mut lines = BTreeSet::new();
    for item in &syn::parse_file(source).expect("Rust").items {
        describe(item, "Peer", "Peer", &mut lines);
    }
    assert_eq!(
        lines.into_iter().collect::<Vec<_>>(),
        ["Peer::added: fn added(&self, at: Duration) -> bool"]
    );
}
