"""Selection of `make test-fast`: every test that does not count as slow.

A test file is slow if its tests take more than 5 s together (measured on two shared cores, one
thread); of some slow files a few tests are selected all the same.
"""

from __future__ import annotations

SLOW = set(
    """
    test_adams_steps test_add_one test_adjoint test_bdf test_bounded_replay
    test_chain test_cifar test_cli test_cnf test_compile_around test_conf
    test_data_state test_dense test_density test_detest test_double_backward
    test_drift test_drop_in_adjoint test_drop_in_agreement test_drop_in_control
    test_drop_in_events test_drop_in_states test_energies test_engine test_errors
    test_evaluate test_event_conditions test_event_solves test_every_method
    test_figures test_flow_gradients test_folders test_fuzz test_gradients
    test_graph_memory test_implicit_steps test_interpolate test_kills test_launcher
    test_long_solves test_mistakes test_mnist_nets test_models
    test_observed_trajectories test_origin test_ownership test_physionet
    test_poisson test_published test_quadrature test_real_runs test_report
    test_resume test_reverse_kl test_scipy_solver test_series_classification
    test_series_mistakes test_state test_step_options test_sweep test_task_data
    test_trajectory test_trust test_typed test_wheel test_series_modelling
    test_flow_plots test_series_labels test_classification test_horizons test_outer_weights
    """.split()
)
SELECTED = {  # beginnings of names, by file
    "test_every_method": ("test_the_error_is_near", "test_an_event_is_found", "test_nan_is_named"),
    "test_cli": ("test_a_diverging_run", "test_a_mistake_ends"),
    "test_gradients": ("test_replay_equals_direct",),
    "test_dense": ("test_it_is_what",),
    "test_event_solves": ("test_bouncing_ball",),
    "test_density": ("test_the_loss_is",),
    "test_trajectory": ("test_short_training",),
    "test_models": ("test_every_parameter",),
    "test_cnf": ("test_density_integrates",),
    "test_conf": ("test_no_solver_without", "test_good_command"),
}


def is_slow(file: str, test: str) -> bool:
    """Return whether a test, by the stem of its file and its name, is left out of test-fast."""
    return file in SLOW and not test.startswith(SELECTED.get(file, ()))
