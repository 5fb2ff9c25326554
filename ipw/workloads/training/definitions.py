"""What each figure of a training method means."""

from __future__ import annotations

from ipw.metrics.definitions import Definition

DEFINITIONS = (
    Definition(
        "energy_per_step_j", "Energy per step", "J", "lower",
        "mean energy of a measured step: forward, backward and update, without data, evaluation and "
        "warm-up",
        energy=True,
    ),
    Definition(
        "energy_per_sample_j", "Energy per sample", "J", "lower",
        "energy of all steps / samples that they trained on",
        energy=True,
    ),
    Definition(
        "energy_per_token_j", "Energy per token", "J", "lower",
        "energy of all steps / tokens that they learnt to tell",
        energy=True,
    ),
    Definition(
        "forward_energy_per_step_j", "Forward", "J", "lower",
        "energy of all forward phases / steps; of zeroth order, both losses and the noise on the weights",
        energy=True,
    ),
    Definition(
        "backward_energy_per_step_j", "Backward", "J", "lower",
        "energy of all backward phases / steps",
        energy=True,
    ),
    Definition(
        "update_energy_per_step_j", "Update", "J", "lower",
        "energy of all updates / steps; of zeroth order also the exchange between peers",
        energy=True,
    ),
    Definition(
        "step_time_s", "Step time", "s", "lower",
        "mean length of a step, the device waited for at both ends",
    ),
    Definition(
        "samples_per_s", "Samples per second", "1/s", "higher",
        "samples / time of all steps",
    ),
    Definition(
        "tokens_per_s", "Tokens per second", "1/s", "higher",
        "tokens that were learnt to tell / time of all steps",
    ),
    Definition(
        "peak_device_memory_bytes", "Peak memory of the device", "B", "lower",
        "the most that tensors took during any step",
    ),
    Definition(
        "peak_host_memory_bytes", "Peak memory of the host", "B", "lower",
        "the most resident memory of the method's own process during any step, libraries included",
    ),
    Definition(
        "training_memory_bytes", "Memory", "B", "lower",
        "the most that tensors took: of the device by its allocator, on a CPU in a step watched in the "
        "warm-up; without one, resident memory less what the process took before the model was made",
    ),
    Definition(
        "tensors_memory_bytes", "Tensors", "B", "lower",
        "the most that tensors took at one time in a step watched in the warm-up: weights, states of the "
        "optimiser and all that the step makes",
    ),
    Definition(
        "weights_memory_bytes", "Weights", "B", "lower",
        "of the model and of the heads of local methods, with buffers",
    ),
    Definition(
        "optimizer_memory_bytes", "Optimiser states", "B", "lower",
        "two for each weight that learns with AdamW, one with SGD",
    ),
    Definition(
        "gradients_memory_bytes", "Gradients", "B", "lower",
        "of all weights that learn, at the update",
    ),
    Definition(
        "activations_memory_bytes", "Activations", "B", "lower",
        "the most that all other tensors of the step took at one time before the update",
    ),
    Definition(
        "initial_loss", "Initial held-out loss", "loss", "",
        "mean loss of held-out batches before the first step",
    ),
    Definition(
        "final_loss", "Held-out loss", "loss", "lower",
        "the same batches after the last step",
    ),
    Definition(
        "steps_to_target_loss", "Steps to the loss", "steps", "lower",
        "steps until the training loss, a mean of the last ten steps, is at the target: --target-loss, "
        "or else the lowest that every method came down to",
    ),
    Definition(
        "energy_to_target_loss_j", "Energy to the loss", "J", "lower",
        "energy of those steps; the interval holds the noise of the loss too, and is open where the loss "
        "never was below the target by more than that",
        energy=True,
    ),
    Definition(
        "loss_at_budget", "Loss for the budget", "loss", "lower",
        "training loss, a mean of the last ten steps, when so many joules of steps were used: "
        "--budget-j, or else the most that every method used",
    ),
    Definition(
        "replay_energy_j", "Replay", "J", "lower",
        "energy in which peers that joined late made the weights of all steps before them, while the "
        "others waited; in no step",
        energy=True,
    ),
    Definition(
        "clipped_slopes", "Clipped slopes", "slopes", "",
        "slopes of zeroth order, of the first process, that lie beyond what a byte can hold (3.8e-4 to "
        "2,631)",
    ),
    Definition(
        "steps", "Steps", "steps", "",
        "measured steps that finished",
    ),
)  # fmt: skip
