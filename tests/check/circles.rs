//! The structure inside each crate: no circle of imports over more than two files, and no type with
//! `impl` blocks in more than three.
//!
//! Read from the sources with `syn`. A file imports another if a path in it (in a `use`, a type, an
//! expression or a macro's call) leads to an item there; re-exports are followed to where the item
//! stands. `pub use` alone imports nothing: it counts once the file names the item itself. Code
//! under `cfg(test)` is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, Type, UseTree, Visibility};

/// The most files in a circle.
const CIRCLE: usize = 2;
/// The most files with `impl` blocks of one type.
const IMPLEMENTING: usize = 3;
/// Steps from re-export to re-export, at most: what imports itself has no end.
const REEXPORTS: usize = 16;

/// A module: where it stands, and what its paths may begin with.
#[derive(Debug, Default)]
struct Module {
    file: usize,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// Name here, and the path that it was imported from.
    imported: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths that this module follows.
    named: Vec<Vec<String>>,
    /// Types with an `impl` block here.
    implemented: Vec<Vec<String>>,
}

/// The modules of one crate, by path.
#[derive(Debug, Default)]
struct Crate {
    files: Vec<String>,
    modules: BTreeMap<Vec<String>, Module>,
}

/// What a path leads to: a module, or an item of a file.
enum Found {
    Module(Vec<String>),
    Item { file: usize, name: String },
}

impl Crate {
    /// Reads a crate from its root file, as `source` gives the text of each.
    fn read(root: &Path, source: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut house = Self::default();
        let folder = root.parent().expect("a folder").to_owned();
        house.add_file(root, &folder, Vec::new(), source);
        house
    }

    fn add_file(
        &mut self,
        file: &Path,
        folder: &Path,
        path: Vec<String>,
        source: &dyn Fn(&Path) -> Option<String>,
    ) {
        let text = source(file).unwrap_or_else(|| panic!("{} is missing", file.display()));
        let items = syn::parse_file(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            .items;
        self.files.push(file.display().to_string());
        self.add_module(self.files.len() - 1, folder, path, items, source);
    }

    fn add_module(
        &mut self,
        file: usize,
        folder: &Path,
        path: Vec<String>,
        items: Vec<Item>,
        source: &dyn Fn(&Path) -> Option<String>,
    ) {
        let mut module = Module { file, ..Module::default() };
        let mut code = TokenStream::new();
        for item in items {
            if attributes(&item).iter().any(is_test) {
                continue;
            }
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    module.children.insert(name.clone());
                    let below = [path.clone(), vec![name.clone()]].concat();
                    let folder_below = folder.join(&name);
                    match child.content {
                        Some((_, items)) => {
                            self.add_module(file, &folder_below, below, items, source)
                        }
                        None => {
                            let of_file = PathBuf::from(&self.files[file]);
                            let given = child.attrs.iter().find_map(path_attribute);
                            let given = given.map(|at| of_file.with_file_name(at));
                            let usual =
                                [folder.join(format!("{name}.rs")), folder_below.join("mod.rs")];
                            let at = given.into_iter().chain(usual).find(|at| source(at).is_some());
                            let at = at.unwrap_or_else(|| {
                                panic!("{}: module {name} has no file", of_file.display())
                            });
                            self.add_file(&at, &folder_below, below, source);
                        }
                    }
                }
                Item::Use(item) => {
                    let is_reexport = !matches!(item.vis, Visibility::Inherited);
                    module.add_use(&item.tree, &mut Vec::new(), is_reexport);
                }
                item => {
                    module.defined.extend(name(&item));
                    if let Item::Impl(item) = &item {
                        module.implemented.extend(type_path(&item.self_ty));
                    }
                    code.extend(item.into_token_stream());
                }
            }
        }
        let mut in_code = Vec::new();
        paths(code, &mut in_code);
        // One name alone is an item or something local, even where it is called as a module is.
        in_code.retain(|path| path.len() > 1 || !is_module(&module, &path[0]));
        module.named.extend(in_code);
        self.modules.insert(path, module);
    }

    /// Follows a path from a module; `None` if it leads out of the crate.
    fn resolve(&self, from: &[String], path: &[String], steps: usize) -> Option<Found> {
        let module = self.modules.get(from)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(Vec::new(), rest, steps),
            "self" => self.descend(from.to_vec(), rest, steps),
            "super" => {
                let (_, above) = from.split_last()?;
                if rest.first().is_some_and(|next| next == "super") {
                    return self.resolve(above, rest, steps);
                }
                self.descend(above.to_vec(), rest, steps)
            }
            name if module.children.contains(name) || module.defined.contains(name) => {
                self.descend(from.to_vec(), path, steps)
            }
            name if module.imported.contains_key(name) => self.descend(from.to_vec(), path, steps),
            _ => None,
        }
    }

    /// Follows the rest of a path from a module that it has led to.
    fn descend(&self, at: Vec<String>, path: &[String], steps: usize) -> Option<Found> {
        let Some((first, rest)) = path.split_first() else { return Some(Found::Module(at)) };
        let module = self.modules.get(&at)?;
        if module.children.contains(first) {
            let mut below = at;
            below.push(first.clone());
            return self.descend(below, rest, steps);
        }
        if module.defined.contains(first) {
            return Some(Found::Item { file: module.file, name: first.clone() });
        }
        if steps == 0 {
            return None;
        }
        if let Some(origin) = module.imported.get(first) {
            let whole: Vec<String> = origin.iter().chain(rest).cloned().collect();
            return self.resolve(&at, &whole, steps - 1);
        }
        module.globs.iter().find_map(|glob| {
            let whole: Vec<String> = glob.iter().chain(path).cloned().collect();
            self.resolve(&at, &whole, steps - 1)
        })
    }

    /// Each file with those that it imports.
    fn imports(&self) -> Vec<BTreeSet<usize>> {
        let mut imports = vec![BTreeSet::new(); self.files.len()];
        for (from, module) in &self.modules {
            for path in module.named.iter().chain(&module.globs) {
                let to = match self.resolve(from, path, REEXPORTS) {
                    Some(Found::Item { file, .. }) => file,
                    Some(Found::Module(at)) => self.modules[&at].file,
                    None => continue,
                };
                if to != module.file {
                    imports[module.file].insert(to);
                }
            }
        }
        imports
    }

    /// What hangs together in circles of more than so many files.
    fn circles(&self, most: usize) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let reached: Vec<BTreeSet<usize>> =
            (0..imports.len()).map(|from| reached(&imports, from)).collect();
        let mut circles = BTreeSet::new();
        for from in 0..imports.len() {
            let with: Vec<usize> =
                reached[from].iter().copied().filter(|to| reached[*to].contains(&from)).collect();
            if with.len() > most {
                circles.insert(with);
            }
        }
        circles
            .into_iter()
            .map(|files| files.into_iter().map(|file| self.files[file].as_str()).collect())
            .collect()
    }

    /// The files that one imports, and those that these import.
    fn below(&self, file: &Path) -> Vec<&str> {
        let from = self.files.iter().position(|known| Path::new(known).ends_with(file));
        let reached = reached(&self.imports(), from.expect("it is a file of this crate"));
        reached.into_iter().map(|file| self.files[file].as_str()).collect()
    }

    /// Types with `impl` blocks in more than so many files.
    fn scattered(&self, most: usize) -> Vec<(String, Vec<&str>)> {
        let mut implementing: BTreeMap<(usize, String), BTreeSet<usize>> = BTreeMap::new();
        for (from, module) in &self.modules {
            for path in &module.implemented {
                if let Some(Found::Item { file, name }) = self.resolve(from, path, REEXPORTS) {
                    implementing.entry((file, name)).or_default().insert(module.file);
                }
            }
        }
        let scattered = implementing.into_iter().filter(|(_, files)| files.len() > most);
        scattered
            .map(|((_, name), files)| {
                (name, files.iter().map(|file| self.files[*file].as_str()).collect())
            })
            .collect()
    }
}

impl Module {
    fn add_use(&mut self, tree: &UseTree, path: &mut Vec<String>, is_reexport: bool) {
        let (inside, outside) = match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.add_use(&step.tree, path, is_reexport);
                path.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_use(tree, path, is_reexport));
                return;
            }
            UseTree::Glob(_) => {
                self.globs.push(path.clone());
                return;
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
        };
        let mut whole = path.clone();
        let outside = match (inside.as_str(), outside.as_str()) {
            ("self", "self") => path.last().cloned().unwrap_or_default(),
            _ => outside,
        };
        if inside != "self" {
            whole.push(inside);
        }
        if !is_reexport {
            self.named.push(whole.clone());
        }
        // A name imported from a child of the same name, as `use core::Core`, must not hide that
        // child.
        if outside != "_" && whole != [outside.clone()] {
            self.imported.insert(outside, whole);
        }
    }
}

fn reached(imports: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        next.extend(imports[file].iter().copied().filter(|to| reached.insert(*to)));
    }
    reached
}

fn is_module(module: &Module, name: &str) -> bool {
    ["crate", "self", "super"].contains(&name) || module.children.contains(name)
}

/// Every path of the tokens, single names included.
fn paths(tokens: TokenStream, into: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    // After one dot, a name is a field or a method; after two, it ends a range or begins a base.
    let mut dots = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(_) if dots == 1 => dots = 0,
            TokenTree::Ident(name) => {
                dots = 0;
                if colons != 2 {
                    into.push(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                into.push(std::mem::take(&mut path));
                colons = 0;
                let is_dot = matches!(&other, TokenTree::Punct(mark) if mark.as_char() == '.');
                dots = if is_dot { dots + 1 } else { 0 };
                if let TokenTree::Group(group) = other {
                    paths(group.stream(), into);
                }
            }
        }
    }
    into.push(path);
    into.retain(|path| !path.is_empty());
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `cfg(test)`, alone or with conditions beside it.
fn is_test(attribute: &Attribute) -> bool {
    let text: String = attribute.meta.to_token_stream().to_string().split_whitespace().collect();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// `path = "…"`, alone or in a `cfg_attr`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    let text: String = attribute.meta.to_token_stream().to_string().split_whitespace().collect();
    let (before, after) = text.split_once("path=\"")?;
    let is_path = before.is_empty() || before.starts_with("cfg_attr(");
    after.split('"').next().filter(|_| is_path).map(str::to_owned)
}

fn name(item: &Item) -> Vec<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => match &item.ident {
            Some(name) => name,
            // The call of a macro may define what it names as a type.
            None => return type_names(item.mac.tokens.clone()),
        },
        _ => return Vec::new(),
    };
    vec![name.to_string()]
}

/// The types that a macro's call defines: `enum Name`, `struct Name`, or the name as its first
/// word.
fn type_names(tokens: TokenStream) -> Vec<String> {
    let words: Vec<String> = tokens.into_iter().map(|token| token.to_string()).collect();
    let first =
        words.first().filter(|word| word.starts_with(|first: char| first.is_ascii_uppercase()));
    let after =
        words.windows(2).filter(|pair| ["enum", "struct", "type"].contains(&pair[0].as_str()));
    first.cloned().into_iter().chain(after.map(|pair| pair[1].clone())).collect()
}

fn type_path(target: &Type) -> Option<Vec<String>> {
    match target {
        Type::Path(path) => {
            Some(path.path.segments.iter().map(|segment| segment.ident.to_string()).collect())
        }
        Type::Reference(reference) => type_path(&reference.elem),
        _ => None,
    }
}

/// The root files of every package of ours: a library and a program of one package are two crates.
fn roots() -> Vec<PathBuf> {
    let mut roots = BTreeSet::new();
    for package in super::imports::metadata()["packages"].as_array().expect("packages") {
        for target in package["targets"].as_array().expect("targets") {
            let root = PathBuf::from(target["src_path"].as_str().expect("a path"));
            let is_product = root
                .parent()
                .is_some_and(|folder| folder.file_name().is_some_and(|name| name == "src"));
            roots.extend(is_product.then_some(root));
        }
    }
    assert!(roots.len() > 20, "the crates were not found");
    roots.into_iter().collect()
}

fn crates() -> impl Iterator<Item = Crate> {
    roots().into_iter().map(|root| Crate::read(&root, &|path| fs::read_to_string(path).ok()))
}

#[test]
fn no_imports_go_round_in_a_circle_of_more_than_two_files() {
    let mut found = String::new();
    for house in crates() {
        let imports = house.imports();
        for circle in house.circles(CIRCLE) {
            found.push_str("These files import each other in a circle:\n");
            for (from, to) in imports
                .iter()
                .enumerate()
                .flat_map(|(from, to)| to.iter().map(move |to| (from, *to)))
            {
                let (from, to) = (house.files[from].as_str(), house.files[to].as_str());
                if circle.contains(&from) && circle.contains(&to) {
                    found.push_str(&format!("  {from} imports {to}\n"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

/// What the handles and the worker of a peer say to each other knows neither of them.
#[test]
fn commands_and_events_of_a_peer_are_leaves() {
    let peer = Path::new("crates/peer/src");
    let is_peer = |house: &Crate| {
        house.files.iter().any(|file| Path::new(file).ends_with(peer.join("command.rs")))
    };
    let house = crates().find(is_peer).expect("the crate to embed");
    assert_eq!(house.below(&peer.join("event.rs")), Vec::<&str>::new());
    let below = house.below(&peer.join("command.rs"));
    assert!(!below.is_empty(), "what is handed over");
    let parts = ["handles", "room", "worker", "voice_loop", "over"];
    let is_of_a_part = |file: &&str| {
        parts.iter().any(|part| {
            file.contains(&format!("/{part}/")) || file.ends_with(&format!("/{part}.rs"))
        })
    };
    let found: Vec<&str> = below.into_iter().filter(is_of_a_part).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn no_type_is_implemented_in_more_than_three_files() {
    let mut found = String::new();
    for house in crates() {
        for (name, files) in house.scattered(IMPLEMENTING) {
            found.push_str(&format!("{name} has impl blocks in {}\n", files.join(", ")));
        }
    }
    assert!(found.is_empty(), "{found}");
}

/// Fields of structures that the whole crate sees.
fn wide_fields(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for item in syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}")).items {
        let Item::Struct(syn::ItemStruct { ident, fields, .. }) = item else { continue };
        for field in &fields {
            let vis = field.vis.to_token_stream().to_string().replace(' ', "");
            if matches!(vis.as_str(), "pub" | "pub(crate)") {
                let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                found.push(format!("{path}: {ident}.{name}"));
            }
        }
    }
    found
}

/// What the thread shares with the handle goes to it in one structure.
#[test]
fn no_field_of_the_engine_thread_is_seen_from_elsewhere() {
    let mut found = Vec::new();
    for source in super::files::files(&[".rs"]) {
        if source.path.starts_with("crates/peer/src/worker") {
            found.extend(wide_fields(&source.path, &source.text));
        }
    }
    found.retain(|field| !field.contains(": Ends."));
    assert!(found.is_empty(), "{}", found.join("\n"));
    let planted = "struct A { pub(crate) a: u8, b: u8, pub(super) c: u8 } pub struct B(pub u8);";
    assert_eq!(wide_fields("a.rs", planted), ["a.rs: A.a", "a.rs: B."]);
}

/// A crate of these files.
fn planted(files: &[(&str, &str)]) -> Crate {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    Crate::read(Path::new("src/lib.rs"), &|path| files.get(path).cloned())
}

#[test]
fn a_planted_circle_is_seen_through_a_reexport() {
    let lib = ("src/lib.rs", "mod a; mod b; mod c; pub use c::C;");
    let circle = [
        lib,
        ("src/a.rs", "use crate::b::B; pub struct A(B);"),
        ("src/b.rs", "pub struct B(Vec<crate::C>);"),
        ("src/c.rs", "use super::{a}; pub struct C(a::A);"),
    ];
    assert_eq!(planted(&circle).circles(CIRCLE), [["src/a.rs", "src/b.rs", "src/c.rs"]]);
    let of_tests = [
        circle[0],
        circle[1],
        circle[2],
        ("src/c.rs", "#[cfg(test)] use crate::a::A; pub struct C;"),
    ];
    assert!(planted(&of_tests).circles(CIRCLE).is_empty());
    let of_bases = [
        circle[0],
        circle[1],
        circle[2],
        ("src/c.rs", "pub struct C; pub fn c() -> C { C { ..crate::a::base().parts } }"),
    ];
    let of_bases = of_bases.map(|(path, text)| {
        (path, if path == "src/a.rs" { "use crate::b::B; pub fn base() -> B {}" } else { text })
    });
    assert_eq!(planted(&of_bases).circles(CIRCLE).len(), 1, "after two dots");
    let two = [
        lib,
        ("src/a.rs", "pub struct A(crate::b::B);"),
        ("src/b.rs", "use super::a::A; pub struct B;"),
        ("src/c.rs", "pub struct C;"),
    ];
    let two = planted(&two);
    assert!(two.circles(CIRCLE).is_empty());
    assert_eq!(two.circles(1), [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn a_reexport_counts_where_its_file_names_the_item() {
    let child = ("src/child.rs", "use super::Parent;  pub struct Child(Parent);");
    let alone = [("src/lib.rs", "mod child; pub use child::Child; pub struct Parent;"), child];
    assert!(planted(&alone).circles(1).is_empty());
    let used =
        [("src/lib.rs", "mod child; pub use child::Child; pub struct Parent(Box<Child>);"), child];
    assert_eq!(planted(&used).circles(1), [["src/lib.rs", "src/child.rs"]]);
}

#[test]
fn a_planted_type_with_many_files_is_seen() {
    let part = "use super::Wide; impl Wide { fn part(&self) {} }";
    let lib = "mod a; mod b; mod c; pub struct Wide; impl Wide {}";
    let files = [("src/lib.rs", lib), ("src/a.rs", part), ("src/b.rs", part), ("src/c.rs", part)];
    let house = planted(&files);
    let scattered = house.scattered(IMPLEMENTING);
    assert_eq!(
        scattered,
        [("Wide".to_owned(), vec!["src/lib.rs", "src/a.rs", "src/b.rs", "src/c.rs"])]
    );
    let other = "pub struct Wide; impl Wide {}";
    let files = [("src/lib.rs", lib), ("src/a.rs", part), ("src/b.rs", part), ("src/c.rs", other)];
    assert!(planted(&files).scattered(IMPLEMENTING).is_empty());
}
