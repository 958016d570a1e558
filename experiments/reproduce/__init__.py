"""The papers' tables and figures as trainings of ours, beside what the papers print. A paper is one file of tables."""
