//! Tells the linker the name under which programs look for the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        // The first number counts changes that break programs built before (`VMESH_ABI_VERSION`).
        Ok("linux" | "android" | "freebsd") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libvoicemesh.so.0")
        }
        Ok("macos" | "ios") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libvoicemesh.0.dylib")
        }
        _ => {}
    }
}
