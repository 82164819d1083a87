"""What compute costs and what moves the answer: numbers in, numbers out."""
