//! How components are compiled and run. One function for both: a precompiled component loads only into an engine with
//! the very same settings, so each that could differ between two builds of this host is set here by name.

use anyhow::Result;
#[cfg(feature = "bake")]
use wasmtime::OptLevel;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures,
};

/// A memory image is mapped copy-on-write only while it is dense, or smaller than this. A baked component's always is
/// smaller: without the mapping, every instance would copy the model.
const DENSE_IMAGE_BYTES: u64 = 2 << 30;

/// Of an instance's memory, this much is not given back when it is gone, in bytes: pages that it wrote to are overwritten
/// with what they were, so that the next instance need not fault them in.
const KEPT_BYTES: usize = 16 << 20;

/// Wasm code may use this much of a worker's stack, in bytes. Recursion in decoders is shallow.
pub const WASM_STACK_BYTES: usize = 1 << 20;

/// What Rust's compiler and linker make use of for `wasm32-wasip2`. Left out are threads, GC, exceptions, tail calls,
/// 64-bit and multiple memories, and everything asynchronous. Named in full, because the defaults depend on the features
/// that the wasmtime crate was built with.
const GUEST_FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What instances may use.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// How many instances live at the same time.
    pub instances: u32,
    /// How much linear memory one may have, in bytes.
    pub memory_bytes: usize,
}

/// The settings for running instances out of a pool of fixed size.
pub fn pooling(pool: Pool) -> Result<Config> {
    let mut config = base()?;
    let mut allocator = PoolingAllocationConfig::new();
    allocator
        .total_component_instances(pool.instances)
        // A component made of several core modules: the guest's own, and small ones that join it to WASI.
        .total_core_instances(pool.instances * 16)
        .max_core_instances_per_component(16)
        .total_memories(pool.instances)
        .max_memories_per_component(1)
        .total_tables(pool.instances * 8)
        .max_tables_per_component(8)
        .table_elements(100_000)
        .max_memory_size(pool.memory_bytes)
        // Slots are reset in place: pages that were written are given back, the image stays mapped.
        .max_unused_warm_slots(pool.instances)
        .linear_memory_keep_resident(KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(allocator));
    Ok(config)
}

/// The settings for precompiling.
#[cfg(feature = "bake")]
pub fn precompiling() -> Result<Config> {
    base()
}

/// The settings for baking: the guest runs once, so that compiling it quickly matters more than its speed.
#[cfg(feature = "bake")]
pub fn baking() -> Result<Config> {
    let mut config = base()?;
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .cranelift_opt_level(OptLevel::None);
    Ok(config)
}

fn base() -> Result<Config> {
    let mut config = Config::new();
    // What guests are made of is on, and everything else is off, so that its bugs are not ours.
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(GUEST_FEATURES, true)
        .relaxed_simd_deterministic(false)
        .gc_support(false)
        .concurrency_support(false)
        .shared_memory(false);
    // How they are interrupted and bounded.
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(WASM_STACK_BYTES);
    // How fast they start: the image is mapped, tables are filled on first use.
    config
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_BYTES)
        .table_lazy_init(true);
    config
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    #[cfg(feature = "bake")]
    compiler(&mut config)?;
    Ok(config)
}

/// Code is made for a stated baseline and not for the machine at hand, so that it runs on every other one: x86-64-v3
/// (AVX2 and FMA: Intel since 2013, AMD since 2015). Elsewhere the architecture's own baseline.
#[cfg(feature = "bake")]
fn compiler(config: &mut Config) -> Result<()> {
    config.cranelift_opt_level(OptLevel::Speed);
    #[cfg(target_arch = "x86_64")]
    {
        config.target("x86_64-unknown-linux-gnu")?;
        for feature in X86_64_V3 {
            enable(config, feature);
        }
    }
    Ok(())
}

#[cfg(feature = "bake")]
#[allow(unsafe_code, reason = "Cranelift's flags are set by name")]
#[cfg(target_arch = "x86_64")]
fn enable(config: &mut Config, feature: &str) {
    // SAFETY: these flags only let the compiler use instructions. The engine that loads the code checks that the
    // machine has them.
    unsafe { config.cranelift_flag_enable(feature) };
}

/// Cranelift's names for what x86-64-v3 has.
#[cfg(feature = "bake")]
#[cfg(target_arch = "x86_64")]
const X86_64_V3: [&str; 12] = [
    "has_cmpxchg16b",
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_bmi1",
    "has_bmi2",
    "has_fma",
    "has_lzcnt",
];
