"""Where each row of the public catalogue of faults is tried, groups A, C, E and G; group B is in test_faults_data.py, D in test_predict.py."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODELS, TRAINING, FETCH, STEPS = "test_faults_models", "test_faults_training", "test_faults_fetch", "test_faults_steps"
ROWS = {
    "A1": [(MODELS, "test_a1_num_classes"), ("test_messages", "test_rule")], "A2": [(MODELS, "test_options")], "A3": [(MODELS, "test_options")],
    "A4": [(MODELS, "test_options")], "A5": [(MODELS, "test_options"), (MODELS, "test_a5_dynamic_in_capitals")],
    "A6": [(MODELS, f"test_a6_{n}") for n in ("a_class_that_is_ignored", "outside", "deeper_than_the_label")],
    "A7": [(MODELS, "test_options"), (MODELS, "test_a7_pooling_crop_size")],
    "A8": [(MODELS, "test_options"), (MODELS, "test_a8_bands"), ("test_weights", "test_other_bands")],
    "A9": [(MODELS, "test_options")], "A10": [(MODELS, "test_a10_lists_are_not_shared")],
    "C1": [(TRAINING, "test_c1_fewer_than_a_batch"), ("test_bad_data", "test_smaller_than_a_batch")],
    "C2": [(TRAINING, "test_c2_c3_a_last_batch_of_one_and_batches_of_one"), (STEPS, "test_c2_what_is_left_out_is_said")],
    "C5": [(STEPS, "test_c5_half_precision_that_skips_every_step")], "C6": [(STEPS, "test_c6_memory_that_is_too_small")],
    "C3": [(TRAINING, "test_c2_c3_a_last_batch_of_one_and_batches_of_one")],
    "C7": [(TRAINING, "test_c7_absent_classes"), ("test_metrics", "test_counts")], "C8": [(TRAINING, "test_c8_nothing_to_judge_by")],
    "C10": [(TRAINING, "test_c10_a_disk_that_cannot_hold_the_first_model"), ("test_drivers", "test_the_run_folder_must_take_files"),
            (TRAINING, "test_c10_names_that_are_too_long_and_parents_that_are_not_there")],
    "C11": [(TRAINING, "test_c11_full_in_the_middle"), ("test_resume", "test_a_full_disk_leaves_the_model_before")],
    "C15": [(TRAINING, "test_c15_going_on_with_something_else"), ("test_resume", "test_what_can_not_be_gone_on_from")],
    "C16": [(TRAINING, "test_c16_a_best_model_has_no_optimizer"), ("test_resume", "test_what_can_not_be_gone_on_from")],
    "C18": [(TRAINING, "test_c18_interrupted_at_twenty_moments"), ("test_drivers", "test_the_interrupt_button")],
    "C19": [(TRAINING, "test_c19_workers_that_get_lost"), ("test_failures", "test_processes_that_read_are_gone")],
    "C20": [(TRAINING, "test_c20_shared_memory_of_one_megabyte")], "C21": [(TRAINING, "test_c21_two_trainings_in_one_folder")],
    "C29": [(TRAINING, "test_c29_numbers"), ("test_messages", "test_rule")], "C30": [(TRAINING, "test_c30_early_stop")],
    "C31": [(TRAINING, f"test_c31_{n}") for n in ("curves_that_cannot_be_written", "a_package_that_is_missing", "the_folder_is_deleted")]
           + [(STEPS, "test_c31_a_log_that_is_deleted")],
    "C32": [(TRAINING, "test_c32_clocks_that_jump_and_decimal_commas")], "C33": [("test_prune", "test_bad_tables_change_nothing")],
    "E1": [(MODELS, "test_e1_missing_or_cut"), (TRAINING, "test_e1_a_checkpoint_that_is_cut")],
    "E2": [(MODELS, "test_e2_one_bit")], "E4": [(MODELS, "test_e4_bombs_are_refused_in_little_memory")],
    "E5": [(MODELS, "test_e5_archives_write_nothing")], "E6": [(MODELS, "test_e6_notes"), (MODELS, "test_e6_older_and_richer_notes_are_read"),
                                                                  (STEPS, "test_e6_notes_of_a_checkpoint")],
    "E7": [(MODELS, "test_e7_yaml")], "E8": [(MODELS, "test_e8_weights_that_are_not_numbers"), (MODELS, "test_e8_classes_in_another_order")],
    "E9": [(MODELS, "test_e9_saved_on_a_machine_with_a_gpu")],
    "E10": [(MODELS, "test_e10_killed_at_every_step_of_a_save"), ("test_resume", "test_killed_at_any_moment")],
    "E11": [("test_prune", "test_a_damaged_pruned_model_names_the_layer")],
    "E12": [(MODELS, "test_e12_places"), (MODELS, "test_e12_a_place_that_takes_no_files")],
    "G2": [(FETCH, "test_g2_no_line"), ("test_weights", "test_offline_says_what_to_carry_where")],
    "G3": [(FETCH, "test_g3_two_processes_ask_for_one_file")], "G4": [(FETCH, "test_g4_a_folder_that_takes_no_files")],
    "G5": [(FETCH, f"test_g5_{n}") for n in ("from_https_to_anything_less", "addresses", "all_records_are_secure")],
    "G6": [(FETCH, "test_g6_bombs_from_the_net")], "G8": [(FETCH, "test_g8_nothing_but_a_training_asks_the_net")],
}
NOT_OURS = {  # Why a row has no test
    **dict.fromkeys(("C25", "C26", "C27", "C28", "G7"), "a training is one process on one device"),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_tried(row):
    for file, name in ROWS[row]:
        functions = {n.name for n in ast.walk(ast.parse((HERE / f"{file}.py").read_text())) if isinstance(n, ast.FunctionDef)}
        assert name in functions, f"{row}: {file}.py has no {name}"


def test_no_row_is_both(): assert not ROWS.keys() & NOT_OURS.keys()
