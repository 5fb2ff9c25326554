"""What each figure of a training method means."""

from __future__ import annotations

DEFINITIONS = {
    "energy_per_step_j": ("Energy per step", "J", """mean energy of a measured step: forward, backward and update, \
without data, evaluation and warm-up"""),
    "energy_per_sample_j": ("Energy per sample", "J", "energy of all steps / samples that they trained on"),
    "energy_per_token_j": ("Energy per token", "J", "energy of all steps / tokens that they learnt to tell"),
    "forward_energy_per_step_j": ("Forward", "J", """energy of all forward phases / steps; of zeroth order, both \
losses and the noise on the weights"""),
    "backward_energy_per_step_j": ("Backward", "J", "energy of all backward phases / steps"),
    "update_energy_per_step_j": ("Update", "J", """energy of all updates / steps; of zeroth order also the exchange \
between peers"""),
    "step_time_s": ("Step time", "s", "mean length of a step, the device waited for at both ends"),
    "samples_per_s": ("Samples per second", "1/s", "samples / time of all steps"),
    "tokens_per_s": ("Tokens per second", "1/s", "tokens that were learnt to tell / time of all steps"),
    "peak_device_memory_bytes": ("Peak memory of the device", "B", "the most that tensors took during any step"),
    "peak_host_memory_bytes": ("Peak memory of the host", "B", """the most resident memory of the method's own process \
during any step, libraries included"""),
    "training_memory_bytes": ("Memory", "B", """the most that tensors took: of the device by its allocator, on a CPU \
in a step watched in the warm-up; without one, resident memory less what the process took before the model was made"""),
    "tensors_memory_bytes": ("Tensors", "B", """the most that tensors took at one time in a step watched in the \
warm-up: weights, states of the optimiser and all that the step makes"""),
    "weights_memory_bytes": ("Weights", "B", "of the model and of the heads of local methods, with buffers"),
    "optimizer_memory_bytes": ("Optimiser states", "B", "two for each weight that learns with AdamW, one with SGD"),
    "gradients_memory_bytes": ("Gradients", "B", "of all weights that learn, at the update"),
    "activations_memory_bytes": ("Activations", "B", """the most that all other tensors of the step took at one time \
before the update"""),
    "initial_loss": ("Initial held-out loss", "loss", "mean loss of held-out batches before the first step"),
    "final_loss": ("Held-out loss", "loss", "the same batches after the last step"),
    "steps_to_target_loss": ("Steps to the loss", "", """steps until the training loss, a mean of the last ten steps, \
is at the target: --target-loss, or else the lowest that every method came down to"""),
    "energy_to_target_loss_j": ("Energy to the loss", "J", """energy of those steps; the interval holds the noise of \
the loss too, and is open where the loss never was below the target by more than that"""),
    "loss_at_budget": ("Loss for the budget", "loss", """training loss, a mean of the last ten steps, when so many \
joules of steps were used: --budget-j, or else the most that every method used"""),
    "replay_energy_j": ("Replay", "J", """energy in which peers that joined late made the weights of all steps before \
them, while the others waited; in no step"""),
    "clipped_slopes": ("Clipped slopes", "", """slopes of zeroth order, of the first process, that lie beyond what a \
byte can hold (3.8e-4 to 2,631)"""),
    "steps": ("Steps", "", "measured steps that finished"),
}  # fmt: skip
"""Label, unit and meaning by name."""
