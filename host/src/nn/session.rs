//! What one instance sees of the host's models: graphs by name, and nothing to load.

use super::Models;
use super::model::{Failure, Model};
use crate::engine::state::State;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime::{StoreContextMut, format_err};
use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor,
};
use wasmtime_wasi_nn::wit::{TensorType, WasiNnCtx, WasiNnView};
use wasmtime_wasi_nn::{ExecutionContext, Graph, GraphRegistry, Registry, Tensor};

const TENSOR: &str = "wasi:nn/tensor@0.2.0-rc-2024-10-28";

/// Graphs, contexts, tensors and errors that an instance may hold at the same time. A classification needs four.
const HANDLES: usize = 16;

/// Dimensions that a tensor may have.
const DIMENSIONS: usize = 8;

/// The first failure of a call, for the log. Others of the same call say no more.
type Trouble = Option<Failure>;

/// One instance's view of the models.
pub struct Session {
    context: WasiNnCtx,
    /// Apart from WASI's, and so small that what it holds is bounded: each tensor is at most as large as an input.
    table: ResourceTable,
    largest_tensor: usize,
    trouble: Arc<Mutex<Trouble>>,
}

impl Session {
    /// A view of these models.
    pub fn new(models: &Models) -> Self {
        let trouble = Arc::default();
        let graphs = models
            .iter()
            .map(|(name, model)| {
                let graph: Box<dyn BackendGraph> = Box::new(Offered {
                    model: Arc::clone(model),
                    trouble: Arc::clone(&trouble),
                });
                (name.to_string(), graph.into())
            })
            .collect();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Self {
            // Without a backend, `load` of a guest's own bytes is refused.
            context: WasiNnCtx::new([], Registry::from(Names(graphs))),
            table,
            largest_tensor: models.largest_input(),
            trouble,
        }
    }

    /// What failed since this was last asked.
    pub fn take_trouble(&mut self) -> Option<Failure> {
        lock(&self.trouble).take()
    }

    fn view(&mut self) -> WasiNnView<'_> {
        WasiNnView::new(&mut self.table, &mut self.context)
    }

    /// What a guest hands over, if it can be meant for one of the models. The model itself looks closer.
    fn tensor(
        &mut self,
        dimensions: Vec<u32>,
        ty: TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<Tensor>> {
        if dimensions.len() > DIMENSIONS || data.len() > self.largest_tensor {
            return Err(format_err!(
                "the guest makes a tensor of {} bytes and {} dimensions, and no model takes one larger than {} bytes",
                data.len(),
                dimensions.len(),
                self.largest_tensor
            ));
        }
        Ok(self.table.push(Tensor::new(dimensions, ty, data))?)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new(&Models::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Links `wasi:nn`.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_nn::wit::add_to_linker(linker, |state: &mut State| state.models().view())?;
    // The crate takes tensors of any size into the host's memory; ours must be asked first.
    linker.allow_shadowing(true);
    linker.instance(TENSOR)?.func_wrap(
        "[constructor]tensor",
        |mut store: StoreContextMut<'_, State>,
         (dimensions, ty, data): (Vec<u32>, TensorType, Vec<u8>)| {
            let tensor = store.data_mut().models().tensor(dimensions, ty, data)?;
            Ok((tensor,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The models by name.
struct Names(Vec<(String, Graph)>);

impl GraphRegistry for Names {
    fn get(&self, name: &str) -> Option<&Graph> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, graph)| graph)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        self.0
            .iter_mut()
            .find(|(known, _)| known == name)
            .map(|(_, graph)| graph)
    }
}

/// A model as an instance sees it. It is its own graph and its own context, because it keeps nothing between two runs.
#[derive(Clone)]
struct Offered {
    model: Arc<Model>,
    trouble: Arc<Mutex<Trouble>>,
}

impl BackendGraph for Offered {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        let context: Box<dyn BackendExecutionContext> = Box::new(self.clone());
        Ok(context.into())
    }
}

impl BackendExecutionContext for Offered {
    fn set_input(&mut self, _id: Id, _tensor: &Tensor) -> Result<(), BackendError> {
        Err(of_modules())
    }

    fn get_output(&mut self, _id: Id) -> Result<Tensor, BackendError> {
        Err(of_modules())
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<NamedTensor>>,
    ) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        let inputs = inputs.ok_or_else(of_modules)?;
        let inputs = inputs
            .into_iter()
            .map(|NamedTensor { name, tensor }| (name, tensor))
            .collect();
        let outputs = self.model.run(inputs).map_err(|failure| {
            let error = format_err!("{failure}");
            lock(&self.trouble).get_or_insert(failure);
            BackendError::BackendAccess(error)
        })?;
        let named = |(name, tensor)| NamedTensor { name, tensor };
        Ok(Some(outputs.into_iter().map(named).collect()))
    }
}

/// The interface of core modules, which no component can reach.
fn of_modules() -> BackendError {
    BackendError::BackendAccess(format_err!("components call `compute` with tensors"))
}
