//! The microphones and speakers of the machine.

use std::ffi::c_char;
use std::mem::size_of;

use voicemesh::{DeviceInfo, Direction};

use crate::guard::{Fault, guarded};
use crate::memory::{self, Plain, Sized32};
use crate::{vmesh_device_role, vmesh_result};

/// How many bytes a device's name can have, with its NUL. Devices with longer names are not listed.
const NAME: usize = 256;

/// A microphone or a speaker.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_device {
    /// sizeof(vmesh_device).
    pub size: u32,
    /// A vmesh_device_role; a device that is both is listed twice.
    pub role: i32,
    /// It is opened when no name is given.
    pub is_default: i32,
    /// What vmesh_options and vmesh_microphone_set_input or vmesh_speaker_set_output open it by.
    pub name: [c_char; 256],
    /// A line for people, perhaps cut off.
    pub description: [c_char; 256],
}

// SAFETY: numbers and arrays of them.
unsafe impl Plain for vmesh_device {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_device {
    const FIRST: usize = size_of::<Self>();
}

/// Tells the microphones and speakers of this machine, defaults first: at most `capacity` of them.
/// *count becomes the number of all. It asks the sound system, which may take a moment.
///
/// `size` is sizeof(vmesh_device); devices may be null if capacity is 0. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_SIZE, VMESH_ERROR_DEVICE (there is no sound system).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_devices(
    devices: *mut vmesh_device,
    size: u32,
    capacity: usize,
    count: *mut usize,
) -> vmesh_result {
    guarded(|| {
        let size = size as usize;
        memory::check_size::<vmesh_device>(size, "vmesh_device")?;
        if devices.is_null() && capacity != 0 {
            return Err(Fault::null("devices"));
        }
        // SAFETY: the header's promise.
        unsafe { memory::write(count, 0, "count")? };
        let found = voicemesh::devices()
            .map_err(|error| Fault::new(vmesh_result::VMESH_ERROR_DEVICE, format!("{error}")))?;
        let listed: Vec<&DeviceInfo> =
            found.iter().filter(|device| device.name.len() < NAME).collect();
        // SAFETY: the header's promise.
        unsafe { memory::write(count, listed.len(), "count")? };
        for (number, device) in listed.into_iter().take(capacity).enumerate() {
            // SAFETY: the caller has room for `capacity` structures of `size` bytes, and `number`
            // is below that.
            unsafe {
                memory::write_part(devices.cast::<u8>().add(number * size), told(device), size)
            };
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

fn told(device: &DeviceInfo) -> vmesh_device {
    let role = match device.direction {
        Direction::Input => vmesh_device_role::VMESH_DEVICE_INPUT,
        Direction::Output => vmesh_device_role::VMESH_DEVICE_OUTPUT,
    };
    vmesh_device {
        size: 0,
        role: role as i32,
        is_default: device.is_default.into(),
        name: memory::array(&device.name),
        description: memory::array(&device.description),
    }
}
