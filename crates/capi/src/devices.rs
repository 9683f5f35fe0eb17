//! The microphones and speakers of the machine.

use std::ffi::c_char;
use std::mem::size_of;

use voicemesh::{DeviceInfo, Direction};

use crate::guard::{Fault, guarded};
use crate::memory::{self, Plain, Sized32};
use crate::{vm_device_role, vm_result};

/// How many bytes a device's name can have, with its NUL. Devices with longer names are not listed.
const NAME: usize = 256;

/// A microphone or a speaker.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vm_device {
    /// sizeof(vm_device).
    pub size: u32,
    /// A vm_device_role; a device that is both is listed twice.
    pub role: i32,
    /// It is opened when no name is given.
    pub is_default: i32,
    /// What vm_options and vm_set_input or vm_set_output open it by.
    pub name: [c_char; 256],
    /// A line for people, perhaps cut off.
    pub description: [c_char; 256],
}

// SAFETY: numbers and arrays of them.
unsafe impl Plain for vm_device {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vm_device {
    const FIRST: usize = size_of::<Self>();
}

/// Tells the microphones and speakers of this machine, defaults first: at most `capacity` of them. *count becomes the number
/// of all. It asks the sound system, which may take a moment.
///
/// `size` is sizeof(vm_device); devices may be null if capacity is 0. Errors: VM_ERROR_NULL, VM_ERROR_BAD_SIZE,
/// VM_ERROR_DEVICE (there is no sound system).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_get_devices(
    devices: *mut vm_device,
    size: u32,
    capacity: usize,
    count: *mut usize,
) -> vm_result {
    guarded(|| {
        let size = size as usize;
        memory::check_size::<vm_device>(size, "vm_device")?;
        if devices.is_null() && capacity != 0 {
            return Err(Fault::null("devices"));
        }
        // SAFETY: the header's promise.
        unsafe { memory::write(count, 0, "count")? };
        let found = voicemesh::devices().map_err(|error| Fault::new(vm_result::VM_ERROR_DEVICE, format!("{error}")))?;
        let listed: Vec<&DeviceInfo> = found.iter().filter(|device| device.name.len() < NAME).collect();
        // SAFETY: the header's promise.
        unsafe { memory::write(count, listed.len(), "count")? };
        for (number, device) in listed.into_iter().take(capacity).enumerate() {
            // SAFETY: the caller has room for `capacity` structures of `size` bytes, and `number` is below that.
            unsafe { memory::write_part(devices.cast::<u8>().add(number * size), told(device), size) };
        }
        Ok(vm_result::VM_OK)
    })
}

fn told(device: &DeviceInfo) -> vm_device {
    let role = match device.direction {
        Direction::Input => vm_device_role::VM_DEVICE_INPUT,
        Direction::Output => vm_device_role::VM_DEVICE_OUTPUT,
    };
    vm_device {
        size: 0,
        role: role as i32,
        is_default: device.is_default.into(),
        name: memory::array(&device.name),
        description: memory::array(&device.description),
    }
}
